"""The device that NNabla computes on: contexts, the CUDA extension, and what is broken there."""
