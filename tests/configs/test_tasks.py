"""Each config with several inputs or tasks at work: two iterations of training, then evaluation."""

import json
import math

import nnabla as nn
import numpy as np
import pytest

import evaluate
import train
from common.command import run_command
from support import task_data
from support.config_files import FOLDER, WITH_TASKS, load

SIDES = 'image_height=32', 'image_width=64', 'resize_height=32', 'resize_width=64'
SMALL = [
    *SIDES, 'test_size=[32, 64]', 'trained_size=[32, 64]', 'epochs=', 'max_iter=2', 'batch_size=2',
    'save_interval=2', 'warmup_epochs=', 'milestone_epochs=[1, 2]',
]  # fmt: skip


@pytest.mark.parametrize('name', WITH_TASKS)
def test_a_config_trains_and_is_evaluated(name, tmp_path):
    config, path = load(name), FOLDER / f'{name}.yaml'
    data = task_data.write(config['dataset'], tmp_path / 'data')
    common = ['-cfg', path, '-d', data, '-c', 'cpu']
    arguments = [*common, '-o', tmp_path / 'run', '--log-interval', 1, '--allow-missing-classes']
    arguments += ['--workers', 0, '--set', *SMALL]
    assert run_command(train.build_parser, train.main, [str(a) for a in arguments]) == 0
    series = (tmp_path / 'run' / 'Training-loss.series.txt').read_text().split()
    losses = [float(value) for value in series[1::2]]
    assert len(losses) == 2
    assert all(loss > 0 and math.isfinite(loss) for loss in losses)
    parameters = nn.get_parameters(grad_only=False)
    assert all(np.isfinite(parameter.d).all() for parameter in parameters.values())

    nn.clear_parameters()
    report = tmp_path / 'scores.json'
    arguments = [*common, '-m', tmp_path / 'run' / 'final.h5', '--backend', 'nnabla']
    arguments += ['--json', report, '--set', 'test_size=[32, 64]', 'trained_size=[32, 64]']
    assert run_command(evaluate.build_parser, evaluate.main, [str(a) for a in arguments]) == 0
    scores = json.loads(report.read_text())['tasks']
    assert set(scores) == set(config['tasks'])
