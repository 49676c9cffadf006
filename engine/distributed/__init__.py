"""Distributed training: the MPI job, gradient summation over its processes, and a watchdog."""
