"""Compute the optical flow between the frames of sequences and videos."""
