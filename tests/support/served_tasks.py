"""Small networks with several pictures or tasks, with seeded weights, for servers."""

import importlib

import nnabla as nn
import numpy as np
import yaml

import models
from datasets import image_files
from engine.config import loading
from engine.config.settings import ConfigSettings
from engine.device.settings import DeviceSettings
from engine.serve.settings import AccessSettings, LimitSettings, ServeSettings
from models import weights
from support import learnable_scenes, scene_data
from support.task_runs import CONFIG

CONFIGS = {
    'scenes': {},  # flow and image; depth, segmentation and motion
    'frames': {'inputs': 2, 'input_kind': 'image', 'tasks': ['segmentation', 'motion'],
               'task_channels': [3, 2], 'depth_range': None},
    'depth': {'inputs': None, 'tasks': ['depth'], 'task_channels': None},
    'pair': {'tasks': None, 'task_channels': None, 'depth_range': None, 'num_classes': 3},
}  # fmt: skip


def write_configs(folder):
    """Write a config with weights for each of :data:`CONFIGS`, whose data set names the classes."""
    importlib.import_module('support.own_tasks')  # registers it, until the end of the test module
    learnable_scenes.write(folder / 'own', 'a')
    for name, changes in CONFIGS.items():
        keys = {**CONFIG, 'data_dir': str(folder / 'own'), 'weights': f'{name}.h5', **changes}
        keys = {key: value for key, value in keys.items() if value is not None}
        path = folder / f'{name}.yaml'
        path.write_text(yaml.safe_dump(keys))
        nn.clear_parameters()
        nn.random.set_parameter_seed(7)
        network = models.create(loading.load(path))
        network(nn.Variable((1, 3 * network.info.inputs, 16, 16)))
        weights.save(folder / f'{name}.h5')
    nn.clear_parameters()


def settings_of(folder, **limits):
    """Return the settings of a server whose default model is ``scenes``."""
    return ServeSettings(
        config=ConfigSettings(config_file=str(folder / 'scenes.yaml'), overrides=()),
        access=AccessSettings(port=0),
        limits=LimitSettings(**limits),
        device=DeviceSettings(context='cpu'),
    )


def scene(height=60, width=80):
    """Return flow, at half the size, and the camera image of a scene."""
    flow = scene_data.arrays(1, height // 2, width // 2)['flow']
    return flow, scene_data.arrays(2, height, width)['image']


def png(picture):
    """Return the bytes of a PNG."""
    return image_files.encode_image('.png', np.ascontiguousarray(picture))
