"""Fixtures of the tests of documents."""

import pytest

from docs.workshop import Workshop


@pytest.fixture(scope='session')
def workshop(tmp_path_factory):
    """The folder in which pages run."""
    made = Workshop(tmp_path_factory.mktemp('documents'))
    yield made
    made.close()
