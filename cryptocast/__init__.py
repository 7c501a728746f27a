"""cryptocast: forecasts crypto prices every 5 minutes and proves how good the forecasts are."""

__version__ = "0.1.0"
