"""Fixtures of download tests: a local server, from which published weights are downloaded."""

import numpy as np
import pytest

from common import files
from models import weights
from models.weights import lookup
from support.download_server import DownloadServer, hdf5_bytes


@pytest.fixture(scope='module')
def content(tmp_path_factory):
    """The bytes of an HDF5 file of 1.2 MB."""
    values = np.random.RandomState(0).randn(150_000)
    return hdf5_bytes(tmp_path_factory.mktemp('content') / 'a.h5', values)


@pytest.fixture
def server(content, tmp_path, monkeypatch):
    """A server that is the mirror of published weights; the cache folder is empty."""
    server = DownloadServer(content)
    monkeypatch.setenv(weights.MIRROR_VARIABLE, server.url)
    monkeypatch.setenv(files.CACHE_VARIABLE, str(tmp_path / 'cache'))
    monkeypatch.setattr(lookup, 'PROJECT', tmp_path)
    monkeypatch.chdir(tmp_path)
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()
