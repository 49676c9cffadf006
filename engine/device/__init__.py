"""The device that NNabla computes on: contexts, the CUDA extension, and its known bugs."""
