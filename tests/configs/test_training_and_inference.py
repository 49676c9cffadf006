"""Each config at work: two iterations of training, then inference with the result."""

import math

import cv2
import nnabla as nn
import numpy as np
import pytest

import evaluate
import models
import train
from common.command import run_command
from support import stand_ins
from support.config_files import CHEAP, FOLDER, NAMES, WITH_TASKS, all_with_default, data_root, load
from support.infer_runs import refused, started


def small(config):
    """Return overrides for the smallest possible training."""
    side = max(64, models.create(config).info.size_divisor)
    sizes = dict.fromkeys(('image_height', 'image_width'), side)
    if config.get('augmentation') == 'resize_crop':
        sizes |= dict.fromkeys(('resize_height', 'resize_width'), side)
    if config.get('augmentation') == 'short_sides':
        sizes = dict(short_sides=[side], max_side=96)
    if 'base_size' in config:
        sizes['base_size'] = [side, 2 * side]
    length = dict(epochs=None, max_iter=2, batch_size=2, save_interval=2, warmup_iter=None)
    if config['dataset'] == 'cocoseg21':  # its samples contain validation images only
        length['train_split'] = 'val'
    changes = sizes | length | dict(reference_batch=None, pretrained=None)
    return [f'{key}={"" if value is None else value}' for key, value in changes.items()]


# Those with tasks need other data: test_tasks.py.
@pytest.mark.parametrize(
    'name', all_with_default(CHEAP, [name for name in NAMES if name not in WITH_TASKS])
)
def test_a_config_trains_and_its_weights_segment(name, shared, working_folder):
    """train.py runs on real samples; infer.py then segments an image that needs padding."""
    config, path = load(name), FOLDER / f'{name}.yaml'
    arguments = ['-cfg', path, '-d', data_root(config, shared), '-o', 'run']
    arguments += ['-c', 'cpu', '--no-validation', '--workers', 0, '--log-interval', 1]
    arguments += ['--allow-missing-classes']  # three images do not show all classes
    arguments += [part for override in small(config) for part in ('--set', override)]
    assert run_command(train.build_parser, train.main, [str(a) for a in arguments]) == 0
    series = (working_folder / 'run' / 'Training-loss.series.txt').read_text().split()
    losses = [float(value) for value in series[1::2]]
    assert len(losses) == 2
    assert all(0 < loss < 100 and math.isfinite(loss) for loss in losses)
    parameters = nn.get_parameters(grad_only=False)
    assert all(np.isfinite(parameter.d).all() for parameter in parameters.values())

    cv2.imwrite('photo.png', stand_ins.image(67, 91))  # no size divisor divides 67 or 91
    view = ['--short-sides', 67] if 'test_short_sides' in config else ['--scale', 1]
    options = ['-cfg', path, '-c', 'cpu', '-m', 'run/final.h5', '-i', 'photo.png']
    assert started(*options, *view, '--save-labels', '-o', 'result.png') == 0
    labels = cv2.imread('result_labels.png', cv2.IMREAD_UNCHANGED)
    assert labels.shape == (67, 91)
    assert labels.max() < config['num_classes']
    assert len(np.unique(labels)) > 1


def test_missing_weights_are_reported_with_the_remedy(working_folder, shared, capsys):
    path = FOLDER / 'DDRNet23slim_cityscapes.yaml'
    cv2.imwrite('photo.png', stand_ins.image(67, 91))
    said = f'error: {path} names no weights: pass some with -m; best_val_smaller.pth '
    assert refused(capsys, '-cfg', path, '-c', 'cpu', '-i', 'photo.png').startswith(said)
    arguments = ['-cfg', path, '-c', 'cpu', '-d', data_root({'dataset': 'cityscapes'}, shared)]
    assert run_command(evaluate.build_parser, evaluate.main, [str(a) for a in arguments]) == 2
    assert said in capsys.readouterr().err
