"""Each config: its data set can be read, its network built, and their sizes fit together."""

import nnabla as nn
import numpy as np
import pytest

import datasets
import models
from datasets.loading import augmentations
from support import stand_ins
from support.config_files import CHEAP, NAMES, all_with_default, data_root, load

BUILT = (  # the cheapest config of each network that differs in kind
    *CHEAP,
    'CSAIL_resnet50_upernet_ade20k',
    'DABNet_E_cityscapes',
    'DDRNet39_cityscapes',
    'EdgeAILite_deeplabv3plus_mobilenetv2_tv_voc',
)


@pytest.mark.parametrize('name', NAMES)
def test_data_and_sizes_fit_the_network(name, shared):
    """Both splits have the network's classes, and the network accepts the configured image sizes.

    The sizes are those of training batches and of segmented images.
    """
    config = load(name)
    info = models.create(config).info
    root = data_root(config, shared)
    splits = config.get('train_split', 'train'), config.get('val_split', 'val')
    for split in splits[1:] if config['dataset'] == 'cocoseg21' else splits:
        data = datasets.open(config['dataset'], root, split)
        assert len(data.info.classes) == info.num_classes
        image, label = data.pair(0)
        assert image.shape[:2] == label.shape
    transform = augmentations.create(config)
    sizes = [transform.largest().size]
    sizes += [config['test_size']] if 'test_size' in config else []
    for size in sizes:
        assert not any(length % info.size_divisor for length in size)
        assert min(size) >= info.smallest_size


@pytest.mark.parametrize('name', all_with_default(BUILT))
def test_the_network_has_the_configured_classes_and_heads(name):
    config = load(name)
    network = models.create(config)
    divisor = network.info.size_divisor
    side = -(-max(64, network.info.smallest_size) // divisor) * divisor
    with stand_ins.zero_parameters():
        main, *auxiliary = network(nn.Variable((2, 3, side, side)), train=True)
    assert main.shape[:2] == (2, config['num_classes'])
    assert len(config.get('aux_weights', auxiliary)) in (1, len(auxiliary))
    assert np.prod(main.shape[2:]) < side * side
