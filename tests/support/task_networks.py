"""A config of a network with two inputs and three tasks, with a reference's weights."""

import nnabla as nn
import numpy as np
import yaml

from models import weights
from support import stand_ins
from support.reference_tester import Reference

FIXTURE = 'deeplabv3plus_mobilenetv2_tv_edgeailite_2in_depth_seg_motion'
KEYS = {
    'network': 'deeplabv3plus_mobilenetv2_tv_edgeailite',
    'inputs': 2,
    'tasks': ['depth', 'segmentation', 'motion'],
    'task_channels': [1, 19, 2],
    'depth_range': [0, 128],
    'aspp_dil': [2, 4, 6],
    'dataset': 'cityscapes',
    'weights': 'weights.h5',
}


def write_config(folder, shared):
    """Write scenes.yaml and weights.h5 into a folder; return the path of the config."""
    nn.clear_parameters()
    Reference.with_tasks(FIXTURE, shared)
    weights.save(folder / 'weights.h5')
    path = folder / 'scenes.yaml'
    path.write_text(yaml.safe_dump(KEYS))
    nn.clear_parameters()
    return path


def pictures(height=70, width=90):
    """Return flow, at half the size, and the camera image of a scene."""
    image = stand_ins.image(height, width, seed=5)
    rng = np.random.RandomState(1)
    flow = rng.randint(100, 157, (height // 2, width // 2, 3)).astype(np.uint8)
    return flow, image
