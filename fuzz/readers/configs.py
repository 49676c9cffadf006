"""Configs with the files that they inherit from, and values of --set."""

from pathlib import Path
from typing import Any

import numpy as np

from engine import config
from fuzz.inputs import Content, Reader
from fuzz.mutators import texts

_BASE = b"""network: d3net
num_init_features: 8
num_layers: [2, 2, 2, 2]
n_blocks: [1, 1, 1, 1]
dens_k: [4, 4, 4, 4]
block_comp: [0.5, 0.5, 0.5, 0.5]
intermediate_out_ch: [8, 8, 8, 8]
trans_comp_factor: 2
dense_n_out_layer_block: [2, 2, 2, 2]
channels: 16
num_classes: 3
classes: [road, car, "no"]
palette: [[128, 64, 128], [0, 0, 142], [70, 70, 70]]
"""
_OWN = b"""_base_: base.yaml
lr: 0.01
max_iter: 100
batch_size: 2
dataset: folder
data_dir: data
augmentation: scale_crop
image_height: 64
image_width: 64
loss: cross_entropy
"""


def _configs(rng: np.random.Generator) -> list[Content]:
    more = b'_base_: [base.yaml, own.yaml]\nlr: 1.0e-3\nweights: model.h5\n'
    files = {'base.yaml': _BASE, 'own.yaml': _OWN, 'more.yaml': more}

    def right(value: dict[str, Any]) -> bool:
        return value['num_classes'] == 3 and list(value['classes']) == ['road', 'car', 'no']

    pairs = [('own.yaml', 'own.yaml'), ('base.yaml', 'own.yaml'), ('more.yaml', 'more.yaml')]
    return [Content(files, target, opened, right, keeps_name=True) for target, opened in pairs]


def _read(path: Path) -> dict[str, Any]:
    found = config.load(path)
    if not config.with_origins(found):
        raise AssertionError('the config is empty')
    return {key: str(found[key]).replace(str(path.parent), '') for key in found} | {
        'num_classes': found['num_classes'],
        'classes': found.get('classes'),
    }


READERS = (Reader('config', _configs, _read, texts.OF_YAML, share=6),)
