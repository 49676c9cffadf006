"""A config of a tiny D3Net with seeded weights beside it, for programs that load both."""

import functools
import os
from pathlib import Path

import nnabla as nn
import yaml

import models
from engine.config import loading
from engine.inference.predictor import Predictor
from models import weights
from support import stand_ins


def write_tiny_config(folder, dataset, num_classes, **keys):
    """Write tiny.yaml and tiny.h5 into a folder; return the path of the config.

    Args:
        folder: The folder.
        dataset: Value of the key ``dataset``.
        num_classes: Number of classes.
        **keys: Further keys of the config.
    """
    network = stand_ins.tiny(num_classes=num_classes)
    network(nn.Variable((1, 3, 32, 32)))
    stand_ins.randomize_parameters()
    weights.save(folder / 'tiny.h5')
    keys = {'num_classes': num_classes, 'dataset': dataset, 'weights': 'tiny.h5', **keys}
    path = folder / 'tiny.yaml'
    path.write_text(yaml.safe_dump({**stand_ins.TINY, **keys}))
    nn.clear_parameters()
    return path


def balance(config, image):
    """Change the weights beside a config so that all classes occur in an image, (H, W, 3) BGR."""
    predictor = Predictor(models.create(loading.load(config)))
    weights.load(config.with_suffix('.h5'))
    logits = predictor.logits(image)
    bias = nn.get_parameters()['decode_head/conv_seg/conv/b']
    bias.d = bias.d - logits.mean(axis=(1, 2))
    weights.save(config.with_suffix('.h5'))
    nn.clear_parameters()


def write_balanced_config(folder, image, **keys):
    """Write a tiny config whose network finds several classes in an image; return its path.

    Order, mean and deviation of the channels are unlike the usual ones.

    Args:
        folder: The folder.
        image: (H, W, 3) uint8, BGR.
        **keys: Further keys of the config.
    """
    path = write_tiny_config(
        folder,
        'folder',
        5,
        channel_order='bgr',
        mean=[90.5, 101.0, 120.25],
        std=[40.0, 55.0, 80.0],
        classes=[f'thing {i}' for i in range(5)],
        palette=[[i, 9, 200] for i in range(5)],
        **keys,
    )
    balance(path, image)
    return path


@functools.cache
def tiny_camvid():
    """Return the options that select a tiny network for CamVid, which runs in milliseconds."""
    folder = Path(os.environ['NNSEG_CACHE']) / 'tiny'  # this test run's cache
    folder.mkdir(parents=True)
    return ['-cfg', write_tiny_config(folder, 'camvid', 11), '-c', 'cpu', '--backend', 'nnabla']
