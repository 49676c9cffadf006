"""Fixtures of the benchmarks' tests: a tiny config, a small CamVid, and PyTorch in a process.

Nothing is skipped here. Where the PyTorch peer is missing, its tests fail with the remedy.
"""

import os
from pathlib import Path

import cv2
import nnabla as nn
import nnabla.functions as F
import numpy as np
import pytest
import yaml

from benchmarks import graph_file, peer
from common.errors import UserError
from support import stand_ins

FRAMES = {'train': 8, 'val': 2, 'test': 2}  # images of each split of the small CamVid
HEIGHT, WIDTH = 96, 128
VOID = 11  # CamVid's value of unlabelled pixels


@pytest.fixture
def tiny(tmp_path):
    """A config of a tiny D3Net that can train."""
    path = tmp_path / 'tiny.yaml'
    path.write_text(yaml.safe_dump({**stand_ins.TINY, 'lr': 0.1, 'max_iter': 9}))
    return path


@pytest.fixture(scope='session')
def camvid(tmp_path_factory):
    """A folder with seeded images in the layout of CamVid, SegNet's edition."""
    root = tmp_path_factory.mktemp('data') / 'camvid'
    for seed, (split, count) in enumerate(FRAMES.items()):
        images, labels = root / split, root / f'{split}annot'
        images.mkdir(parents=True)
        labels.mkdir()
        for index in range(count):
            name = f'{split}_{index}.png'
            image = stand_ins.image(HEIGHT, WIDTH, seed=100 * seed + index)
            label = np.uint8(image[..., 0] // 16 % (VOID + 1))
            cv2.imwrite(str(images / name), image)
            cv2.imwrite(str(labels / name), label)
    return root


@pytest.fixture(scope='session')
def peer_python():
    """PEER_PYTHON, a Python with torch and numpy."""
    python = os.environ.get('PEER_PYTHON', '')
    if os.sep in python:
        python = str(Path(python).absolute())  # absolute() keeps the links of an environment
    reason = ''
    try:
        peer.require_torch(python)
    except UserError as error:
        reason = str(error)
    if reason:
        pytest.fail(
            f'PEER_PYTHON={python!r} is not a Python with torch and numpy ({reason}); '
            'run make test-bench PEER_PYTHON=PYTHON',
            pytrace=False,
        )
    return python


@pytest.fixture(scope='session')
def pytorch(peer_python, tmp_path_factory):
    """A PyTorch process that runs one graph after the other."""
    folder = tmp_path_factory.mktemp('peer')
    x = nn.Variable.from_numpy_array(np.ones((1, 1), np.float32))
    graph_file.write_graph(folder, [x], [F.relu(x)])
    process = peer.PyTorchProcess(
        'peer', peer_python, folder, folder / 'cache', 1, 'start', device='cpu',
        precision='float32', channels_last=False, form='eager', mode='default',
        mean=[0, 0, 0], std=[1, 1, 1], swap=False,
    )  # fmt: skip
    yield process
    process.close()
