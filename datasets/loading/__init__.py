"""Batches for training: which samples are in one, how they are transformed, in worker processes."""
