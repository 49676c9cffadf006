"""Fixtures of the export tests: one thread, narrow pyramids, NNabla's function list."""

import functools

import pytest

from common import machine
from models import csail


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Check exported files with one thread, because the tests themselves run in parallel."""
    monkeypatch.setattr(machine, 'threads', lambda requested=None: 1)


@pytest.fixture(autouse=True, scope='session')
def parsed_once():
    """Parse NNabla's list of functions once per worker; each parsing takes a second."""
    from engine.export.nnb_reader import import_converter

    import_converter()
    from nnabla.utils.converter import utils

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, 'get_category_info', functools.cache(utils.get_category_info))
        yield


@pytest.fixture
def narrow_pyramids(monkeypatch):
    """Narrow the pyramid pooling of CSAIL's decoders, which holds most of their parameters."""
    monkeypatch.setattr(csail, 'PPM_CHANNELS', 16)
