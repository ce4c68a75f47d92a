"""Training of the models behind the features: BLIP-2, the state machine, the detector, and their data."""
