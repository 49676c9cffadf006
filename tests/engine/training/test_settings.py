"""Training from Python with a settings object, and with a loss that the user adds."""

import numpy as np
import pytest

import models
from common.errors import UserError
from engine import training
from engine.runs import checkpoints
from support import programs, train_runs

data = train_runs.data
OWN_LOSS = '''
from dataclasses import dataclass

import nnabla.functions as F

from common.sections import Section, config_key
from engine.training import losses


@dataclass(frozen=True, kw_only=True)
class FocalKeys(Section):
    focal_gamma: float = config_key(2.0, 'exponent of the focal loss', least=0)


def focal(head, keys):
    miss = F.exp(head.cross_entropy * -1) * -1 + 1
    return head.mean(head.pixel_losses * F.pow_scalar(miss, keys.focal_gamma))


losses.register(losses.PixelLoss('focal', FocalKeys, focal))
'''


def test_training_from_python_equals_the_command_line(data, tmp_path):
    assert training.train(train_runs.settings_of(data, tmp_path)) == 0
    of_command = train_runs.Training(data, tmp_path, '--workers', 0, '--no-validation', max_iter=3)
    assert train_runs.same_weights(
        tmp_path / 'run' / 'final.h5', of_command.whole('command') / 'final.h5'
    )


def test_the_network_is_created_once(data, tmp_path, monkeypatch):
    made, create = [], models.create

    def counted(*arguments, **options):
        made.append(create(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(models, 'create', counted)
    assert training.train(train_runs.settings_of(data, tmp_path)) == 0
    assert len(made) == 1
    weights_of = tmp_path / 'run' / 'final.h5'
    changes = dict(output=str(tmp_path / 'next'), pretrained=str(weights_of))
    assert training.train(train_runs.settings_of(data, tmp_path, **changes)) == 0
    assert len(made) == 2


def test_an_own_loss_trains_from_the_command_line(data, tmp_path):
    (tmp_path / 'own_loss.py').write_text(OWN_LOSS)
    config = train_runs.write_config(tmp_path, max_iter=2, loss='focal', focal_gamma=3)
    process = programs.run(
        'train.py', '--import', tmp_path / 'own_loss.py', '-cfg', config, '-d', data, '-c', 'cpu',
        '-o', tmp_path / 'run', '--workers', 0, '--no-validation',
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    state = checkpoints.load(tmp_path / 'run' / 'state.h5')
    assert (state.iteration, state.config['focal_gamma']) == (2, 3.0)
    assert all(np.isfinite(array).all() for array in state.parameters.values())


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'workers': -1}, '--workers must be at least 0, not -1'),
        ({'log_interval': 0}, '--log-interval must be at least 1, not 0'),
        ({'seed': 2**32}, f'--seed must be at most {2**32 - 1}, not {2**32}'),
        ({'timeout': float('nan')}, '--timeout must be greater than 0 seconds, not nan'),
    ],
)
def test_values_out_of_range_are_refused(changes, message):
    with pytest.raises(UserError) as caught:
        training.TrainingSettings(**changes)
    assert str(caught.value) == message
