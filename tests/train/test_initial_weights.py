"""Pretrained weights: which parameters they initialise, and which parameters are frozen."""

import shutil

import nnabla as nn
import numpy as np
import pytest

from engine.runs import checkpoints
from models import weights
from support import stand_ins, train_runs
from support.train_runs import Training

# Changes of a config that keep all weights but running statistics.
ONE_EMPTY_STEP = {'max_iter': 1, 'lr': 1e-30, 'weight_decay': None}
NETWORK = {key: value for key, value in train_runs.CONFIG.items() if key in stand_ins.TINY}


@pytest.fixture
def pretrained(tmp_path):
    """The parameters of a network, saved whole and, like D3Net's published ones, as a backbone."""
    nn.clear_parameters()
    stand_ins.tiny(**NETWORK)(nn.Variable((1, 3, 24, 40)))
    stand_ins.randomize_parameters(seed=3)
    weights.save(tmp_path / 'whole.h5')
    for name in list(nn.get_parameters(grad_only=False)):
        if not name.startswith('backbone/'):
            nn.parameter.pop_parameter(name)
    with nn.parameter_scope('backbone'):
        nn.save_parameters(str(tmp_path / 'backbone.h5'))
    return weights.read(tmp_path / 'whole.h5')


def trainable(names):
    """Return the names without those of running statistics."""
    return {name for name in names if not name.endswith(('/mean', '/var'))}


def kept(run, start):
    """Return the names of the trainable parameters that still have their initial values."""
    final = weights.read(run / 'final.h5')
    return {
        name for name in trainable(final) & start.keys() if np.array_equal(final[name], start[name])
    }


def test_pretrained_weights_are_loaded(pretrained, data, tmp_path, caplog):
    training = Training(data, tmp_path, '--no-validation', '--workers', 0, **ONE_EMPTY_STEP)
    trained = trainable(pretrained)
    backbone = {name for name in trained if name.startswith('backbone/')}

    assert kept(training.whole('whole', '-p', tmp_path / 'whole.h5'), pretrained) == trained
    assert f'{len(pretrained)} pretrained parameters' in caplog.text

    run = training.whole('backbone', '-p', tmp_path / 'backbone.h5')
    assert backbone <= kept(run, pretrained)
    assert 'parameters keep their initial values' in caplog.text

    more = ['--set', f'pretrained={tmp_path / "whole.h5"}']
    assert kept(training.whole('by key', *more), pretrained) == trained
    assert kept(training.whole('anew'), pretrained) < trained - backbone


def test_weights_of_another_number_of_classes_initialise_all_but_the_head(
    pretrained, data, tmp_path, caplog
):
    seven = tmp_path / 'seven'
    shutil.copytree(data, seven)
    (seven / 'dataset.yaml').write_text('classes: [a, b, c, d, e, f, g]\nlabel_format: indices\n')
    changes = {**ONE_EMPTY_STEP, 'num_classes': 7}
    options = ['--no-validation', '--workers', 0, '--allow-missing-classes']
    training = Training(seven, tmp_path, *options, **changes)
    run = training.whole('run', '-p', tmp_path / 'whole.h5')
    head = {name for name in pretrained if name.startswith('decode_head/conv_seg/')}
    assert len(head) == 2
    text = f'{len(head)} parameters keep their initial values, among them decode_head/'
    assert text in caplog.text
    assert kept(run, pretrained) == trainable(pretrained) - head


@pytest.mark.parametrize('solver', ['momentum', 'adamw'])
def test_frozen_parameters_keep_their_bits(solver, pretrained, data, tmp_path):
    """The steps use weight decay, momentum and batch statistics; all other parameters change."""
    training = Training(
        data, tmp_path, '--no-validation', '--workers', 0, '-p', tmp_path / 'whole.h5',
        solver=solver, freeze=['backbone/*'], weight_decay=0.1, ema_decay=0.9, max_iter=6,
    )  # fmt: skip
    final = weights.read(training.whole('run') / 'final.h5')
    unchanged = {name for name in final if np.array_equal(final[name], pretrained[name])}
    assert unchanged == {name for name in final if name.startswith('backbone/')}
    state = checkpoints.load(tmp_path / 'run' / 'state.h5')
    assert not [name for name in state.solver if name.startswith('backbone/')]
