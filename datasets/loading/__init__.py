"""Load batches for training: sampling, augmentation, worker processes and packed data sets."""
