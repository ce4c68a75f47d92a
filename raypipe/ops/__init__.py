"""Arithmetic on NumPy arrays: no files, no Ray, no torch."""
