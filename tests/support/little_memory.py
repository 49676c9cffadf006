"""Limit the memory that this process may take."""

import resource
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def little_memory(most):
    """Let this process allocate at most ``most`` bytes more in the block, in any library."""
    pages = int(Path('/proc/self/statm').read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + most
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
