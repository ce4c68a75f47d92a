"""Readers that turn a data set on disk into catalogue entries and labels."""
