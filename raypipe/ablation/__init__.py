"""Variations of a run over shared features, and one table of them all."""
