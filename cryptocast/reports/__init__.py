"""Figures that others computed, shown as PNG for MLflow, as text, or as an HTML page."""
