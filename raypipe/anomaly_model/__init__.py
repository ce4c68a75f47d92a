"""The model of what is normal: its training, and the scores that it gives."""
