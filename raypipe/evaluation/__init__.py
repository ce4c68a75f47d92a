"""Scores against labels: metrics, alarms, breakdowns, results, plots and published figures."""
