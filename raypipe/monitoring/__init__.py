"""What a run tells of itself while it goes on: progress, drivers, timings, and metrics."""
