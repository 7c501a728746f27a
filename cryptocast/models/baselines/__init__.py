"""Honest yardsticks: each file holds one kind, as `Model`; every evaluation scores them all."""
