"""ONNX Runtime with one thread, because the tests themselves run in parallel."""

import pytest

from common import machine


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Let the check of an exported file compute with one thread."""
    monkeypatch.setattr(machine, 'threads', lambda requested=None: 1)
