"""The Python API, whose names `raypipe` itself gives: runs, features, findings, figures, videos."""
