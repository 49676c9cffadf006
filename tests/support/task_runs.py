"""Trainings and evaluations of a small network with three tasks and two pictures a scene."""

from pathlib import Path

import yaml

from support import learnable_scenes, programs, train_runs

IMPORT = ['--import', programs.PROJECT / 'tests' / 'support' / 'own_tasks.py']
NAMES = ('a', 'b', 'c', 'd', 'e', 'f')
TASKS = ['depth', 'segmentation', 'motion']
CONFIG = {
    'network': 'own_tasks',
    'dataset': 'folder',
    'inputs': 2,
    'tasks': TASKS,
    'task_channels': [1, 3, 2],
    'depth_range': [0, 128],
    'depth_variance_weight': 0.02,
    'batch_size': 2,
    'image_height': 24,
    'image_width': 48,
    'max_iter': 8,
    'save_interval': 4,
    'lr': 0.02,
}


def write_data(root: Path) -> Path:
    """Write scenes to train on and to validate."""
    learnable_scenes.write(root, NAMES, 'train')
    learnable_scenes.write(root, NAMES[:3], 'val')
    return root


class TaskTraining(train_runs.Training):
    """A config and options of train.py for :data:`CONFIG`, with changes; None removes a key."""

    def __init__(self, data: Path, folder: Path, *options, **changes):
        super().__init__(data, folder, *IMPORT, '--workers', 0, *options)
        keys = {key: value for key, value in {**CONFIG, **changes}.items() if value is not None}
        self.config.write_text(yaml.safe_dump(keys))
