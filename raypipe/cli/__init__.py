"""The command line `raypipe`: one module for each command that has more than a line to do."""
