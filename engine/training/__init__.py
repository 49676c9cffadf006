"""Training: from a config to trained weights."""
