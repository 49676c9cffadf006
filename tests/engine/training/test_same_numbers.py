"""Options that promise the same numbers keep the promise, for networks of every family: how a batch
is divided, and where a training is interrupted. Recomputation is in
tests/models/test_recomputation.py, exports and their precisions in
tests/engine/backends/test_backends.py, workers and packing in tests/datasets.
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
OTHERS = sorted(set(models.names()) - set(ONE_OF_EACH_FAMILY) - {'d3net'})
IMAGES, STEPS, CLASSES = 4, 2, mpi_training.CLASSES
BUILD = {'freeze_statistics': True, 'dropout': False}  # else a batch counts as such
DIVISIONS = ((4, 1), (2, 2), (1, 4))  # images a backward pass, backward passes
# At higher rates a step moves weights of deep networks by a tenth of their norm and more, and the
# next multiplies the rounding of the first.
RATE = 1e-4
# Of a parameter's norm: the order of sums, and a ReLU whose sign it decides.
FIRST_BOUND, BOUND = 1e-6, 5e-6  # after one step, after all


class State:
    """What :meth:`engine.training.trainer.Trainer.load_state` takes, of :meth:`Trainer.state`."""

    def __init__(self, fields):
        vars(self).update(fields)


class Images:
    """Stands for the loader: seeded images, a few at a time."""

    samples = ()

    def __init__(self, size, batch, step=0):
        self._size, self._batch, self._position = size, batch, step * IMAGES

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
    nn.clear_parameters()
    network = models.create(name)
    with stand_ins.zero_parameters():
        Predictor(network)
    stand_ins.randomize_parameters()
    unit = network.info.size_divisor
    side = -(-max(network.info.smallest_size, 32) // unit) * unit
    config = {'lr': RATE, 'max_iter': 10, 'batch_size': batch, 'accumulation': accumulation}
    config |= {'weight_decay': 1e-3, 'ema_decay': 0.5, 'loss_mean': 'all'}
    recipe, processes = mpi_training.recipe_of(config, 100, 1), Processes()
    loader = Images((side, side), batch, step)
    return mpi_training.trainer_of(
        network,
        config,
        recipe,
        loader,
        processes,
        SingleProcessCommunicator(processes),
        build=BUILD,
    )


def parameters():
    return {n: p.d.copy() for n, p in nn.get_parameters(grad_only=False).items()}


def differing(found, expected, bound):
    """Names of parameters that differ by more than a share of their norm."""
    return [
        name
        for name, value in expected.items()
        if not np.linalg.norm(found[name] - value) <= bound * np.linalg.norm(value)
    ]


def check(name):
    """However a batch is divided; and to the bit, when each step is that of another trainer."""
    trained = []
    for batch, accumulation in DIVISIONS:
        trainer = make_trainer(name, batch, accumulation)
        losses, steps = [], []
        for _ in range(STEPS):
            losses.append(trainer.step().loss)
            steps.append(parameters())
        trained.append((losses, steps[0], steps[-1]))
    whole_losses, whole_first, whole = trained[0]
    for losses, first, last in trained[1:]:
        assert losses == pytest.approx(whole_losses, rel=1e-5)
        assert differing(first, whole_first, FIRST_BOUND) == []
        assert differing(last, whole, BOUND) == []
    state = None
    for step in range(STEPS):
        trainer = make_trainer(name, *DIVISIONS[0], step)
        if state is not None:
            trainer.load_state(State(state))
        assert trainer.step().loss == whole_losses[step]
        state = trainer.state()
    assert differing(parameters(), whole, 0) == []


def check_ranks(names, tmp_path, count=2):
    """As :func:`check`, for batches that are spread over the processes of a job."""
    cases = {}
    for name in names:
        info = models.create(name).info
        side = -(-max(info.smallest_size, 32) // info.size_divisor) * info.size_divisor
        cases[name] = {'network': name, 'steps': STEPS, 'batch_size': 1, 'build': BUILD}
        cases[name] |= {'lr': RATE, 'image_height': side, 'image_width': side}
    mpi_training.write_data(tmp_path / 'data')
    arguments = 'tests/support/mpi_training.py', tmp_path / 'data', tmp_path, json.dumps(cases)
    job = mpi_jobs.run(count, *arguments)
    assert job.returncode == 0, job.stderr
    for name, case in cases.items():
        one = mpi_training.train(tmp_path / 'data', Processes(), {**case, 'batch_size': count})
        ranks = dict(np.load(tmp_path / f'{name}.npz'))
        assert ranks.keys() == one.keys()
        assert differing(ranks, one, BOUND) == [], name


@pytest.mark.parametrize('name', ONE_OF_EACH_FAMILY)
def test_accumulation_and_resuming(name):
    check(name)


def test_ranks(tmp_path):
    check_ranks(ONE_OF_EACH_FAMILY, tmp_path)


@pytest.mark.whole_registry
@pytest.mark.timeout(1200)
@pytest.mark.parametrize('name', OTHERS)
def test_accumulation_resuming_and_ranks_of_every_network(name, tmp_path):
    check(name)
    check_ranks([name], tmp_path)
