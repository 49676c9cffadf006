"""Several tasks give the same training however a batch is divided, resumed or recomputed."""

import json

import nnabla as nn
import numpy as np
import pytest

from common.errors import UserError
from engine.distributed.communicators import SingleProcessCommunicator
from engine.distributed.processes import Processes
from engine.inference.predictor import Predictor
from engine.training.divergence import DivergedError
from engine.training.losses.task_weighting import LearnedScales
from support import learnable_scenes, mpi_jobs, mpi_training, stand_ins
from support.mpi_training import SCENE

SIZE = (24, 40)
FROZEN = {'freeze_statistics': True}
# Losses of depth that do not depend on how accumulation divides a batch.
EXACT = {'depth_scale_weight': 0.0, 'depth_variance_weight': 0.0, 'depth_silog_weight': 2.0}
LEARNED = {'task_weighting': 'learned', 'task_weights': [1.0, 0.5, 2.0]}
BOUND = 5e-6  # share of a parameter's norm


class Scenes:
    """A stand-in for the loader: seeded scenes; ``position``: number of the first one."""

    samples = ()

    def __init__(self, batch, position=0):
        self._batch, self._position = batch, position

    def next(self):
        made = [self._make(self._position + number) for number in range(self._batch)]
        self._position += self._batch
        images, targets = zip(*made)
        return np.stack(images), {name: np.stack([t[name] for t in targets]) for name in targets[0]}

    def _make(self, number):
        rng = np.random.RandomState(number)
        depth = rng.uniform(1, 80, (1, *SIZE)).astype(np.float32)
        depth[:, : 1 + rng.randint(SIZE[0])] = 0
        labels = rng.randint(0, 3, (1, *SIZE)).astype(np.int32)
        labels[:, :, : 1 + rng.randint(20)] = -1
        motion = rng.randint(-1, 2, (1, *SIZE)).astype(np.int32)
        image = rng.standard_normal((6, *SIZE)).astype(np.float32)
        return image, {'depth': depth, 'segmentation': labels, 'motion': motion}

    def state_dict(self):
        return {}


class State:
    """The fields of :meth:`Trainer.state` as attributes, for :meth:`Trainer.load_state`."""

    def __init__(self, fields):
        vars(self).update(fields)


def make_trainer(config, loader, batch=4, accumulation=1, build=None, **options):
    """Create a trainer of the network ``scene`` with seeded parameters."""
    nn.clear_parameters()
    network, processes = mpi_training.network('scene'), Processes()
    with stand_ins.zero_parameters():
        Predictor(network)
    stand_ins.randomize_parameters()
    config = {'lr': 0.01, 'max_iter': 10, 'weight_decay': 1e-3, 'ema_decay': 0.5, **SCENE, **config}
    config |= {'batch_size': batch, 'accumulation': accumulation}
    steps = mpi_training.hyperparameters_of(config, 100, 1)
    return mpi_training.trainer_of(
        network,
        config,
        steps,
        loader,
        processes,
        SingleProcessCommunicator(processes),
        build=build or FROZEN,
        **options,
    )


def parameters():
    return {n: p.d.copy() for n, p in nn.get_parameters(grad_only=False).items()}


def differing(found, expected, bound):
    """Return the names of parameters that differ by more than a share of their norm."""
    return [
        name
        for name, value in expected.items()
        if not np.linalg.norm(found[name] - value) <= bound * np.linalg.norm(value)
    ]


@pytest.mark.parametrize('weighting', [{}, LEARNED], ids=['fixed', 'learned'])
def test_micro_batches_give_the_same_training(weighting):
    trained = []
    for batch, accumulation in ((4, 1), (2, 2), (1, 4)):
        trainer = make_trainer({**EXACT, **weighting}, Scenes(batch), batch, accumulation)
        steps = [trainer.step() for _ in range(3)]
        trained.append((parameters(), steps))
    whole, steps = trained[0]
    for found, others in trained[1:]:
        assert differing(found, whole, BOUND) == []
        for one, other in zip(steps, others):
            assert other.loss == pytest.approx(one.loss, rel=1e-5)
            assert other.task_losses == pytest.approx(one.task_losses, rel=1e-5)
            assert other.task_scales == pytest.approx(one.task_scales, rel=1e-7)


@pytest.mark.parametrize('weighting', [{}, LEARNED], ids=['fixed', 'learned'])
def test_a_resumed_training_has_the_same_bits(weighting):
    config = {**weighting, 'solver': 'adam', 'loss': 'ohem', 'ohem_min_kept': 100}
    trainer = make_trainer(config, Scenes(2), 2)
    trainer.step()
    state = json_round_trip(trainer.state())
    expected = [trainer.step() for _ in range(2)]
    after = parameters()
    other = make_trainer(config, Scenes(2, position=2), 2)
    other.load_state(State(state))
    found = [other.step() for _ in range(2)]
    assert [step.loss for step in found] == [step.loss for step in expected]
    assert [step.task_scales for step in found] == [step.task_scales for step in expected]
    assert differing(parameters(), after, 0) == []
    if weighting:
        without = make_trainer(config, Scenes(2, position=2), 2)
        without.load_state(State({**state, 'task_scales': None}))
        assert without.step().task_scales != expected[0].task_scales


def json_round_trip(state):
    """Return a state whose facts were written as JSON, as a file has them."""
    return {**state, 'task_scales': json.loads(json.dumps(state['task_scales']))}


@pytest.mark.parametrize('policy', ['bn_relu', 'convolution', 'blocks'])
def test_recomputation_has_the_same_bits(policy):
    results = []
    for recompute in ('none', policy):
        trainer = make_trainer(LEARNED, Scenes(2), 2, build={'recompute': recompute})
        results.append(([trainer.step().loss for _ in range(2)], parameters()))
    assert results[0][0] == results[1][0]
    assert differing(results[1][1], results[0][1], 0) == []


def test_frozen_parameters_stay_and_the_others_learn():
    trainer = make_trainer({'freeze': ['in0/*', 'motion/*']}, Scenes(2), 2)
    before = parameters()
    trainer.step()
    after = parameters()
    for name, value in before.items():
        fixed = name.startswith(('in0/', 'motion/')) or '/bn/mean' in name or '/bn/var' in name
        assert np.array_equal(after[name], value) == fixed, name


def test_a_task_of_weight_zero_teaches_nothing():
    config = {'task_weights': [0.0, 1.0, 1.0], 'weight_decay': 0.0}
    trainer = make_trainer(config, Scenes(2), 2)
    before = parameters()
    step = trainer.step()
    after = parameters()
    assert np.array_equal(after['depth/conv/W'], before['depth/conv/W'])
    assert not np.array_equal(after['motion/conv/W'], before['motion/conv/W'])
    assert step.task_losses['depth'] > 0
    expected = step.task_losses['segmentation'] + step.task_losses['motion']
    assert step.loss == pytest.approx(expected, rel=1e-6)


def test_learned_scales_need_gradients_of_the_encoder():
    frozen = ['in*', 'bn*', 'conv2/*']
    with pytest.raises(UserError, match='task_weighting: the whole encoder is frozen'):
        make_trainer({**LEARNED, 'freeze': frozen}, Scenes(2), 2)
    make_trainer({**LEARNED, 'freeze': frozen[:1]}, Scenes(2), 2).step()
    make_trainer({'freeze': frozen}, Scenes(2), 2).step()


def test_learned_scales_need_a_network_that_shows_its_gradients(monkeypatch):
    monkeypatch.setattr(mpi_training.task_layers, 'tap', lambda x, task, build: x)
    with pytest.raises(UserError, match='task_weighting: scene does not show the gradient'):
        make_trainer(LEARNED, Scenes(2), 2)


def test_scales_of_another_number_of_tasks_are_refused():
    state = LearnedScales((1, 1)).state()
    with pytest.raises(UserError, match='the state has 2 scales of tasks, the network has 3'):
        LearnedScales((1, 1, 1)).load_state(state)


def test_a_loss_that_is_not_finite_names_its_task():
    class Endless(Scenes):
        def next(self):
            images, targets = super().next()
            targets['depth'][:, :, -1] = np.inf
            return images, targets

    trainer = make_trainer({}, Endless(2), 2)
    before = parameters()
    with pytest.raises(DivergedError, match=r'iteration 1 is not finite \(rank 0: .* \(of depth\)'):
        trainer.step()
    assert trainer.roll_back()
    assert differing(parameters(), before, 0) == []


def test_several_processes_train_as_one(tmp_path):
    """With synchronized batch norms, the default losses of depth, and learned scales.

    All ranks share each batch, and their scales are the same to the bit.
    """
    learnable_scenes.write(tmp_path / 'data', [f's{i}' for i in range(8)])
    cases = {
        'fixed': {**SCENE, 'build': {}},
        'learned': {**SCENE, **LEARNED, 'build': {}},
        'frozen': {**SCENE, **LEARNED, **EXACT, 'build': FROZEN},
    }
    cases = {
        name: {**case, 'steps': 3, 'lr': 0.005, 'image_height': 24, 'image_width': 40}
        for name, case in cases.items()
    }
    job = mpi_jobs.run(
        2,
        'tests/support/mpi_training.py',
        tmp_path / 'data',
        tmp_path,
        json.dumps({name: {**case, 'batch_size': 2} for name, case in cases.items()}),
        OMP_NUM_THREADS='1',
    )
    assert job.returncode == 0, job.stderr
    for name, case in cases.items():
        one = mpi_training.train(tmp_path / 'data', Processes(), {**case, 'batch_size': 4})
        ranks = dict(np.load(tmp_path / f'{name}.npz'))
        assert ranks['losses'] == pytest.approx(one['losses'], rel=1e-5)
        assert ranks['scales'] == pytest.approx(one['scales'], rel=1e-6)
        assert differing(ranks, one, 2e-5) == [], name
