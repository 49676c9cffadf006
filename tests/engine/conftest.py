"""Fixtures shared by the tests of backends and of inference."""

import pytest

from engine.backends.disk_cache import DiskCache
from engine.inference import predictor
from support import stand_ins


@pytest.fixture
def tiny():
    """A predictor of a tiny network with seeded parameters."""
    made = predictor.Predictor(stand_ins.tiny())
    stand_ins.randomize_parameters()
    return made


@pytest.fixture
def disk_cache(tmp_path):
    """An empty disk cache."""
    return DiskCache(tmp_path / 'backends')
