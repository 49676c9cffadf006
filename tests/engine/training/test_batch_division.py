"""A batch gives the same training however it is divided, in networks of every family.

Divisions into micro-batches, over processes, and into an interrupted and a resumed run. Tests of
recomputation are in tests/models, those of exports in tests/engine/backends, those of workers and
packing in tests/datasets.
"""

import json

import nnabla as nn
import numpy as np
import pytest

import models
from engine.distributed.communicators import SingleProcessCommunicator
from engine.distributed.processes import Processes
from engine.inference.predictor import Predictor
from support import mpi_jobs, mpi_training, stand_ins

ONE_OF_EACH_FAMILY = (
    'd3net_t',
    'ddrnet23_slim_aux',
    'dabnet_r18_p2',
    'csail_resnet18dilated8_c1_deepsup',
    'fpn_aspp_regnetx400mf_edgeailite',
)
STEPS, CLASSES = 2, mpi_training.CLASSES
BUILD = {'freeze_statistics': True, 'dropout': False}  # both depend on the batch as a whole
# (images per backward pass, backward passes per update)
DIVISIONS = ((3, 1), (1, 3))  # of three backward passes, one is neither the first nor the last
MORE_DIVISIONS = ((4, 1), (2, 2), (1, 4))
# At higher rates a step changes weights of deep networks by a tenth of their norm and more, and the
# next step multiplies the rounding error of the first.
LEARNING_RATE = 1e-4
# Shares of a parameter's norm. The order of sums differs, which can flip the sign before a ReLU.
FIRST_BOUND, BOUND = 1e-6, 5e-6  # after one step, after all steps


class State:
    """The fields of :meth:`Trainer.state` as attributes, for :meth:`Trainer.load_state`."""

    def __init__(self, fields):
        vars(self).update(fields)


class Images:
    """A stand-in for the loader: seeded images; ``first``: number of the first one."""

    samples = ()

    def __init__(self, size, batch, first):
        self._size, self._batch, self._position = size, batch, first

    def next(self):
        images, labels = zip(*(self._make(self._position + i) for i in range(self._batch)))
        self._position += self._batch
        return np.stack(images), np.stack(labels)

    def _make(self, number):
        rng = np.random.RandomState(number)
        labels = rng.randint(0, CLASSES, (1, *self._size)).astype(np.int32)
        labels[:, : 1 + rng.randint(self._size[0] // 2)] = -1
        return rng.standard_normal((3, *self._size)).astype(np.float32), labels

    def state_dict(self):
        return {}


def make_trainer(name, batch, accumulation, step=0):
    """Create a trainer of a seeded network whose next step is number ``step``."""
    nn.clear_parameters()
    network = models.create(name)
    with stand_ins.zero_parameters():
        Predictor(network)
    stand_ins.randomize_parameters()
    unit = network.info.size_divisor
    side = -(-max(network.info.smallest_size, 32) // unit) * unit
    config = {
        'lr': LEARNING_RATE,
        'max_iter': 10,
        'batch_size': batch,
        'accumulation': accumulation,
    }
    config |= {'weight_decay': 1e-3, 'ema_decay': 0.5, 'loss_mean': 'all'}
    hyperparameters, processes = mpi_training.hyperparameters_of(config, 100, 1), Processes()
    loader = Images((side, side), batch, step * batch * accumulation)
    return mpi_training.trainer_of(
        network,
        config,
        hyperparameters,
        loader,
        processes,
        SingleProcessCommunicator(processes),
        build=BUILD,
    )


def parameters():
    """Return copies of all parameters by name."""
    return {n: p.d.copy() for n, p in nn.get_parameters(grad_only=False).items()}


def differing(found, expected, bound):
    """Return the names of parameters that differ by more than a share of their norm."""
    return [
        name
        for name, value in expected.items()
        if not np.linalg.norm(found[name] - value) <= bound * np.linalg.norm(value)
    ]


def assert_same_training(name, divisions=DIVISIONS):
    """Compare the divisions of a batch, and a resumed training, which must agree to the bit."""
    trained = []
    for batch, accumulation in divisions:
        trainer = make_trainer(name, batch, accumulation)
        losses, steps, states = [], [], []
        for _ in range(STEPS):
            losses.append(trainer.step().loss)
            steps.append(parameters())
            states.append(trainer.state())
        trained.append((losses, steps[0], steps[-1], states[0]))
    whole_losses, whole_first, whole, state = trained[0]
    for losses, first, last, _ in trained[1:]:
        assert losses == pytest.approx(whole_losses, rel=1e-5)
        assert differing(first, whole_first, FIRST_BOUND) == []
        assert differing(last, whole, BOUND) == []
    for step in range(1, STEPS):
        trainer = make_trainer(name, *divisions[0], step)
        trainer.load_state(State(state))
        assert trainer.step().loss == whole_losses[step]
        state = trainer.state()
    assert differing(parameters(), whole, 0) == []


def assert_same_training_on_ranks(names, tmp_path, count=2):
    """Compare one process with a job of several that share each batch."""
    cases = {}
    for name in names:
        info = models.create(name).info
        side = -(-max(info.smallest_size, 32) // info.size_divisor) * info.size_divisor
        cases[name] = {'network': name, 'steps': STEPS, 'batch_size': 1, 'build': BUILD}
        cases[name] |= {'lr': LEARNING_RATE, 'image_height': side, 'image_width': side}
    mpi_training.write_data(tmp_path / 'data')
    arguments = 'tests/support/mpi_training.py', tmp_path / 'data', tmp_path, json.dumps(cases)
    job = mpi_jobs.run(count, *arguments, OMP_NUM_THREADS='1')
    assert job.returncode == 0, job.stderr
    for name, case in cases.items():
        one = mpi_training.train(tmp_path / 'data', Processes(), {**case, 'batch_size': count})
        ranks = dict(np.load(tmp_path / f'{name}.npz'))
        assert ranks.keys() == one.keys()
        assert differing(ranks, one, BOUND) == [], name


@pytest.mark.parametrize('name', ONE_OF_EACH_FAMILY)
def test_micro_batches_and_resuming_give_the_same_training(name):
    assert_same_training(name)


def test_ranks_give_the_same_training(tmp_path):
    assert_same_training_on_ranks(ONE_OF_EACH_FAMILY, tmp_path)


@pytest.mark.whole_registry
@pytest.mark.timeout(1200)
@pytest.mark.parametrize('name', sorted(set(models.names()) - {'d3net'}))
def test_every_network_trains_the_same_however_divided(name, tmp_path):
    assert_same_training(name, MORE_DIVISIONS)
    if name not in ONE_OF_EACH_FAMILY:
        assert_same_training_on_ranks([name], tmp_path)
