"""Fixtures: a small CamVid, and a user's own data set and augmentation (support/stripes.py)."""

import sys

import numpy as np
import pytest
from PIL import Image

from common import command
from datasets.loading.augmentations import registry
from datasets.preparation import sources
from datasets.registry import READERS
from support import data_server, stand_ins, stripes


@pytest.fixture
def own_modules(monkeypatch):
    """Import both modules as --import does, and remove them at the end."""
    monkeypatch.setattr(sys, 'path', list(sys.path))
    words = ['--import', str(stripes.OWN_STRIPES), '--import', str(stripes.OWN_MIDDLE)]
    assert command.run_command(command.Parser, lambda args: 0, words) == 0
    yield
    del READERS._parts['stripes'], registry.AUGMENTATIONS._parts['middle']
    for path in (stripes.OWN_STRIPES, stripes.OWN_MIDDLE):
        del sys.modules[path.stem]


@pytest.fixture
def stripes_server():
    """Serve the archive of the data set."""
    server = data_server.ArchiveServer()
    server.archives['stripes.zip'] = stripes.archive()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def stripes_root(stripes_server, own_modules, tmp_path):
    """The downloaded data set."""
    sources.download('stripes', tmp_path / 'stripes', stripes_server.url)
    return tmp_path / 'stripes'


@pytest.fixture
def small_camvid(tmp_path):
    """The SegNet edition of CamVid with two frames in train, one in val and one in test."""
    root = tmp_path / 'data' / 'camvid'
    for split, names in (('train', 'ab'), ('val', 'c'), ('test', 'd')):
        for name in names:
            for folder, array in (
                (split, stand_ins.image(6, 8)),
                (f'{split}annot', np.full((6, 8), 11, np.uint8)),
            ):
                (root / folder).mkdir(exist_ok=True, parents=True)
                Image.fromarray(array).save(root / folder / f'{name}.png')
    return root
