"""The state machine that says whether an earlier sentence still holds (Section 3.3)."""
