"""Files of weights store the input statistics of their network, and every command uses them."""

import logging
from dataclasses import replace
from types import SimpleNamespace

import cv2
import h5py
import nnabla as nn
import numpy as np
import pytest
import yaml

import infer
import models
from common.command import run_command
from engine import config as configs
from models import input_statistics, registry, weights
from models.convert.__main__ import build_parser, main
from models.family import NetworkKeys
from models.weights import published
from support import programs, stand_ins, train_runs

NETWORK = 'csail_resnet18dilated8_c1_deepsup'
CONFIG = programs.PROJECT / 'configs' / 'CSAIL_resnet18dilated8_c1_deepsup_ade20k.yaml'
OLDER = CONFIG.with_name(f'CSAIL_baseline_{CONFIG.name.removeprefix("CSAIL_")}')
BGR = registry.STATISTICS['csail_bgr']
data = train_runs.data


@pytest.fixture(scope='module')
def state():
    """Seeded arrays of the whole network by the reference's names."""
    with nn.parameter_scope('', {}):
        with stand_ins.zero_parameters():
            models.create(NETWORK)(nn.Variable((1, 3, 32, 32)))
        stand_ins.randomize_parameters()
        arrays = {name: p.d.copy() for name, p in nn.get_parameters(grad_only=False).items()}
    return models.convert.to_pytorch(NETWORK, arrays)


@pytest.fixture(scope='module')
def part(state):
    """The first arrays of the encoder and of the decoder, for --partial: quick to convert."""
    halves = ([n for n in state if n.startswith(half)] for half in ('encoder', 'decoder'))
    return {name: state[name] for names in halves for name in names[:5]}


def converted(state, folder, name, *options):
    """Convert a checkpoint called ``name`` and return the .h5 file."""
    source, target = folder / name, folder / 'out.h5'
    source.parent.mkdir(exist_ok=True)
    np.savez(source, **state)
    arguments = ['--network', NETWORK, '-i', source, '-o', target, *options]
    assert run_command(build_parser, main, [str(a) for a in arguments]) == 0
    return target


@pytest.mark.parametrize(
    ('name', 'options', 'expected', 'assumed'),
    [
        ('baseline-resnet18dilated-c1_deepsup/all.npz', (), BGR, False),
        ('baseline-mine.npz', (), BGR, False),
        ('ade20k-resnet18dilated-c1_deepsup/all.npz', (), models.family.IMAGENET, False),
        ('mine.npz', (), models.family.IMAGENET, True),
        ('mine.npz', ('--input-statistics', 'csail_bgr'), BGR, False),
        ('baseline-x.npz', ('--input-statistics', 'imagenet'), models.family.IMAGENET, False),
    ],
)
def test_a_converted_file_stores_its_input(
    name, options, expected, assumed, part, tmp_path, capsys
):
    path = converted(part, tmp_path, name, '--partial', *options)
    assert weights.input_statistics(path) == expected
    printed = capsys.readouterr().out
    assert ('The file names do not identify the input' in printed) == assumed
    assert f'for {input_statistics.describe(expected)}' in printed
    with h5py.File(path) as file:  # NNabla's and Sony's loaders read the same as before
        assert set(file) == {'encoder', 'decoder'}
    assert len(weights.read(path)) == len(part)


def labels(photo, config, *options):
    """Segment a photo and return its labels."""
    arguments = ['-i', photo, '-cfg', config, '-c', 'cpu', '--backend', 'nnabla', '--save-labels']
    arguments += ['-o', photo.parent / 'result.png', '--set', 'test_short_sides=[48]', *options]
    nn.clear_parameters()
    with stand_ins.zero_parameters():
        assert run_command(infer.build_parser, infer.main, [str(a) for a in arguments]) == 0
    return cv2.imread(str(photo.parent / 'result_labels.png'), cv2.IMREAD_UNCHANGED)


def test_infer_uses_the_input_of_the_weights(state, small_photo, tmp_path):
    """The labels equal those of the older config without statistics, and differ from RGB's."""
    stored = converted(state, tmp_path, 'baseline-x.npz')
    silent = tmp_path / 'silent.h5'
    with h5py.File(stored) as old, h5py.File(silent, 'w') as new:
        for name in old:
            old.copy(name, new)
    assert weights.input_statistics(silent) is None
    expected = labels(small_photo, OLDER, '-m', silent)
    assert np.array_equal(labels(small_photo, CONFIG, '-m', stored), expected)
    assert not np.array_equal(labels(small_photo, CONFIG, '-m', silent), expected)


def test_a_config_wins_over_the_weights_with_a_warning(part, tmp_path, caplog):
    path = converted(part, tmp_path, 'baseline-x.npz', '--partial')
    info = models.describe(NETWORK)
    stored = weights.input_statistics(path)
    explicit = {'network': NETWORK, 'mean': [1, 2, 3]}
    with caplog.at_level(logging.WARNING, logger='nnseg'):
        own = models.describe(explicit)
        assert input_statistics.resolve(own, stored, NetworkKeys.of(explicit), path) is None
    assert 'trained on BGR, mean 102.98' in caplog.text
    assert 'the config sets RGB, mean 1, 2, 3' in caplog.text
    assert input_statistics.resolve(info, stored, NetworkKeys(network=NETWORK), path) == BGR
    assert input_statistics.resolve(info, None, NetworkKeys(network=NETWORK), path) is None
    network = models.create(NETWORK)
    applied = input_statistics.apply(network, stored)
    assert applied.info == replace(network.info, **BGR)
    assert input_statistics.apply(network, None) is network


@pytest.mark.parametrize(
    'attributes',
    [
        {},
        {'input_mean': (1, 2, 3)},
        {'input_mean': (1, 2), 'input_std': (1, 1, 1), 'input_channel_order': 'rgb'},
        {'input_mean': (1, 2, 3), 'input_std': (1, 0, 1), 'input_channel_order': 'rgb'},
        {'input_mean': (1, 2, 3), 'input_std': (1, 1, 1), 'input_channel_order': 'hsv'},
        {'input_mean': (1, 2, np.nan), 'input_std': (1, 1, 1), 'input_channel_order': 'rgb'},
        {'input_mean': (1, 2, 3), 'input_std': (1, np.inf, 1), 'input_channel_order': 'rgb'},
        {'input_mean': 'abc', 'input_std': (1, 1, 1), 'input_channel_order': 'rgb'},
    ],
)
def test_missing_or_invalid_attributes_are_ignored(attributes):
    assert input_statistics.from_attributes(attributes) is None


def test_csail_published_weights_of_both_kinds():
    bgr, rgb = (
        {p.file.partition('/')[0] for p in published.files() if p.statistics == name}
        for name in ('csail_bgr', 'imagenet')
    )
    assert len(bgr) == 6
    assert all(name.startswith('baseline-') for name in bgr)
    assert all(name.startswith('ade20k-') for name in rgb)
    for network in bgr:
        entry = next(p for p in published.files() if p.file.startswith(f'{network}/'))
        (name,) = published.networks_of(entry)
        assert (
            CONFIG.parent / f'CSAIL_baseline_{name.removeprefix("csail_")}_ade20k.yaml'
        ).exists()


def test_channel_order_is_a_key_of_a_config():
    config = configs.load(CONFIG, ['channel_order=bgr'])
    assert models.create(config).info.channel_order == 'bgr'
    with pytest.raises(Exception, match='channel_order.*rgb or bgr'):
        configs.load(CONFIG, ['channel_order=hsv'])


def test_a_resumed_training_keeps_the_input_of_its_weights(data, tmp_path):
    """A run that starts from weights writes their statistics into its config and its weights.

    The resumed run does the same after those weights are deleted.
    """
    training = train_runs.Training(data, tmp_path, '--workers', 0, max_iter=3, save_interval=3)
    first = training.whole('first', '--set', 'max_iter=1')
    with nn.parameter_scope('', {}):
        network = models.create(configs.load(training.config))
        network(nn.Variable((1, 3, 24, 40)))
        weights.load(first / 'final.h5')
        weights.save(tmp_path / 'start.h5', SimpleNamespace(**BGR))
    with train_runs.signalled(2):
        assert training('second', '-p', tmp_path / 'start.h5') == 143
    written = yaml.safe_load((tmp_path / 'second' / 'config.yaml').read_text())
    assert written['channel_order'] == 'bgr'
    assert written['mean'] == list(BGR['mean'])
    (tmp_path / 'start.h5').unlink()
    second = training.whole('second', '--resume')
    assert weights.input_statistics(second / 'final.h5') == BGR
    assert weights.input_statistics(first / 'final.h5') == input_statistics.of_info(network.info)
