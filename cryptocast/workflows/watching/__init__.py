"""Watching over the forecasts that were served: outcomes, tests, alerts, metrics."""
