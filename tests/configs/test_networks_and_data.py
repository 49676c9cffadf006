"""Each config: its data set can be read, its network built, and their sizes fit together."""

import nnabla as nn
import numpy as np
import pytest

import datasets
import models
from common.tasks import DEPTH
from datasets.loading import augmentations
from engine.config.data import open_dataset
from support import stand_ins, task_data
from support.config_files import CHEAP, NAMES, WITH_TASKS, all_with_default, data_root, load

BUILT = (  # the cheapest config of each network that differs in kind
    *CHEAP,
    'CSAIL_resnet50_upernet_ade20k',
    'DABNet_E_cityscapes',
    'DDRNet39_cityscapes',
    'EdgeAILite_deeplabv3plus_mobilenetv2_tv_voc',
    *WITH_TASKS,
)


@pytest.mark.parametrize('name', NAMES)
def test_data_and_sizes_fit_the_network(name, shared, tmp_path):
    """Both splits have the network's classes, and the network accepts the configured image sizes.

    The sizes are those of training batches and of segmented images.
    """
    config = load(name)
    info = models.create(config).info
    splits = config.get('train_split', 'train'), config.get('val_split', 'val')
    if 'tasks' in config:
        assert_targets_fit(config, task_data.write(config['dataset'], tmp_path), splits, info)
    else:
        assert_labels_fit(config, data_root(config, shared), splits, info)
    transform = augmentations.create(config)
    sizes = [transform.largest().size]
    sizes += [config['test_size']] if 'test_size' in config else []
    for size in sizes:
        assert not any(length % info.size_divisor for length in size)
        assert min(size) >= info.smallest_size


def assert_labels_fit(config, root, splits, info):
    for split in splits[1:] if config['dataset'] == 'cocoseg21' else splits:
        data = datasets.open(config['dataset'], root, split)
        assert len(data.info.classes) == info.num_classes
        image, label = data.pair(0)
        assert image.shape[:2] == label.shape


def assert_targets_fit(config, root, splits, info):
    """Both splits have all pictures of a scene, and each task its classes or its metres."""
    assert [task.name for task in info.tasks] == config['tasks']
    for split in splits:
        data = open_dataset(config, split, root)
        assert data.tasks == info.tasks
        image = data.image(0)
        assert image.shape[2] == 3 * info.inputs
        for task in info.tasks:
            target = data.target(0, task.name)
            assert target.shape == image.shape[:2]
            if task.kind == DEPTH:
                assert 1 < np.median(target[target > 0]) < 255
            else:
                assert len(data.of_task(task.name).info.classes) == task.channels
                assert set(np.unique(target)) <= {*range(task.channels), 255}


@pytest.mark.parametrize('name', all_with_default(BUILT))
def test_the_network_has_the_configured_classes_and_heads(name):
    config = load(name)
    network = models.create(config)
    divisor = network.info.size_divisor
    side = -(-max(64, network.info.smallest_size) // divisor) * divisor
    shape = 2, 3 * network.info.inputs, side, side
    with stand_ins.zero_parameters():
        outputs = network(nn.Variable(shape), train=True)
    channels = config.get('task_channels') or [config.get('num_classes', 1)]
    mains, auxiliary = outputs[: len(channels)], outputs[len(channels) :]
    assert [main.shape[:2] for main in mains] == [(2, count) for count in channels]
    assert len(config.get('aux_weights', auxiliary)) in (1, len(auxiliary))
    assert all(np.prod(main.shape[2:]) < side * side for main in mains)
