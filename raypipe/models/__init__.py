"""Models: torch modules and scikit-learn density scorers."""
