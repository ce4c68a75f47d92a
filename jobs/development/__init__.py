"""What makes the drawn world, the shipped models and the caption tagger."""
