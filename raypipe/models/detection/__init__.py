"""Detectors and trackers: Ultralytics' YOLO and trackers, and a vision-language model."""
