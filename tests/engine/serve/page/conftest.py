"""A browser, a server of the demo's network, and what Python finds with it."""

import pytest

from engine import Segmenter
from engine.config.settings import ConfigSettings
from engine.device.settings import DeviceSettings
from engine.serve.settings import AccessSettings, LimitSettings, ServeSettings
from support import browsers, served
from support.page_visits import CONFIG, MAX_BYTES, MAX_PIXELS, PHOTO, PROTOCOL, visits
from support.tiny_config import write_tiny_config


@pytest.fixture(scope='package')
def browser():
    with browsers.chromium() as started:
        yield started


@pytest.fixture(scope='package')
def server(own_cache, tmp_path_factory):
    """A server of the demo's network and a tiny one."""
    folder = tmp_path_factory.mktemp('models')
    keys = {'classes': ['ground', 'square', 'disc'], 'exif_orientation': 'ignore'}
    write_tiny_config(folder, 'folder', 3, **keys)
    settings = ServeSettings(
        config=ConfigSettings(config_file=CONFIG, overrides=()),
        access=AccessSettings(port=0),
        limits=LimitSettings(max_bytes=MAX_BYTES, max_pixels=MAX_PIXELS, queue=0),
        device=DeviceSettings(context='cpu'),
        protocol=PROTOCOL,
    )
    with served.serving(settings, folder) as running:
        yield running


@pytest.fixture(scope='package')
def segmenter(server):
    """The same network in Python."""
    return Segmenter(CONFIG, context='cpu', protocol=PROTOCOL)


@pytest.fixture(scope='package')
def result(segmenter):
    """What Python finds in the street photo."""
    return segmenter(PHOTO)


@pytest.fixture
def visit(browser, server):
    """Open the page; at the end, nothing went wrong unseen, and no other host was asked."""
    with visits(browser, server) as open_page:
        yield open_page
