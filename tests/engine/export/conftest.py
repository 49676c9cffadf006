"""Fixtures of the export tests: one thread, and narrow pyramids."""

import pytest

from common import machine
from models import csail


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Check exported files with one thread, because the tests themselves run in parallel."""
    monkeypatch.setattr(machine, 'threads', lambda requested=None: 1)


@pytest.fixture
def narrow_pyramids(monkeypatch):
    """Narrow the pyramid pooling of CSAIL's decoders, which holds most of their parameters."""
    monkeypatch.setattr(csail, 'PPM_CHANNELS', 16)
