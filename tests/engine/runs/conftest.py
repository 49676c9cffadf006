"""The project's logger as a command line configures it."""

import logging

import pytest

from common.log import LOG


@pytest.fixture(autouse=True)
def logger_at_info():
    """Set the level to INFO, and check that no test leaves a handler behind."""
    level = LOG.level
    LOG.setLevel(logging.INFO)
    handlers = list(LOG.handlers)
    yield
    assert LOG.handlers == handlers, 'a handler was not removed from the logger'
    LOG.setLevel(level)
