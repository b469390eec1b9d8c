"""Launching runs and jobs: limits, forecasts, and reuse of equal runs."""
