"""What looks at the forecasts that were served: outcomes, tests, alerts, metrics."""
