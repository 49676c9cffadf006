"""A server of a tiny network, which the tests of a file share."""

import pytest

from engine.serve.settings import LimitSettings
from support import served


@pytest.fixture(scope='module')
def small_server(tmp_path_factory):
    """A server with small limits, of which only the time limit is generous."""
    folder = tmp_path_factory.mktemp('models')
    limits = LimitSettings(max_bytes=200_000, max_pixels=10_000, queue=2)
    with served.serving(served.tiny_settings(folder, limits), folder) as running:
        yield running
