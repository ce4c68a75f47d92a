"""The steps of raypipe as scripts for `ray job submit`, and benchmarks."""
