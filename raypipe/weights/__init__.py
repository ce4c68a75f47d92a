"""Model weights: fetched, converted, checked, verified, and identified."""
