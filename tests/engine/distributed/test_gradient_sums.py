"""Training in several processes equals training in one process on all their batches.

The tests use the real trainer. Results differ only by the order in which floats are summed. The
bounds apply to ``|a - b| / |b|`` of each parameter after three steps, running statistics included.
"""

import json

import cv2
import nnabla as nn
import numpy as np
import pytest

from engine.distributed.processes import Processes
from layers import functions as L
from support import mpi_jobs, mpi_training

RECOMPUTE = ('bn_relu', 'convolution', 'blocks')
CASES = {  # in all of them, each process contributes 2 images to an update
    'plain': {'batch_size': 2},
    'accumulated': {'batch_size': 1, 'accumulation': 2},
    'all_pixels': {'batch_size': 2, 'loss_mean': 'all'},
    'summed': {'batch_size': 2, 'gradient_reduction': 'sum'},
    'normed': {'batch_size': 2, 'network': 'normed'},
    **{
        name: {'batch_size': 2, 'network': 'normed', 'build': {'recompute': name}}
        for name in RECOMPUTE
    },
    **{
        f'gated {name}': {'batch_size': 2, 'network': 'gated', 'build': {'recompute': name}}
        for name in ('none', *RECOMPUTE)
    },
    'local': {'batch_size': 2, 'network': 'normed', 'build': {'communicator': None}},
    'frozen': {'batch_size': 2, 'network': 'd3net', 'build': {'freeze_statistics': True}},
    'd3net': {'batch_size': 2, 'network': 'd3net', 'steps': 1},
}
# The cases for four processes: one of each kind of sum.
CASES_OF_FOUR = ('plain', 'accumulated', 'all_pixels', 'summed', 'normed', 'frozen', 'd3net')
MAX_DIFFERENCE = 1e-6
MAX_DIFFERENCE_SYNCHRONIZED = 2e-5  # synchronized statistics magnify rounding errors


@pytest.fixture
def data(tmp_path):
    mpi_training.write_data(tmp_path / 'data')
    return tmp_path / 'data'


@pytest.mark.parametrize(
    ('count', 'names'),
    [
        (2, tuple(CASES)),
        (4, CASES_OF_FOUR),
        pytest.param(4, tuple(CASES), marks=pytest.mark.whole_registry),
    ],
    ids=['two', 'four', 'four, all cases'],
)
def test_ranks_equal_one_process_with_all_their_batches(data, tmp_path, count, names):
    """D3Net with batch statistics is chaotic in float32.

    For it, only the first loss and the statistics after the first step are compared.
    """
    cases = {name: CASES[name] for name in names}
    job = mpi_jobs.run(count, 'tests/support/mpi_training.py', data, tmp_path, json.dumps(cases))
    assert job.returncode == 0, job.stderr
    for name, case in cases.items():
        ranks = dict(np.load(tmp_path / f'{name}.npz'))
        one = mpi_training.train(data, Processes(), as_one_process(case, count))
        assert ranks.keys() == one.keys()
        differences = {
            parameter: np.linalg.norm(ranks[parameter] - values) / np.linalg.norm(values)
            for parameter, values in one.items()
        }
        if name == 'local':  # statistics of each process must give another result
            assert max(differences.values()) > 1e-3
            continue
        if name == 'd3net':
            compared = ('losses', '/bn/mean', '/bn/var')
            differences = {n: d for n, d in differences.items() if n.endswith(compared)}
        worst = max(differences, key=differences.get)
        synchronized = case.get('network') in ('normed', 'gated') or name == 'd3net'
        bound = MAX_DIFFERENCE_SYNCHRONIZED if synchronized else MAX_DIFFERENCE
        assert differences[worst] < bound, (name, worst)
    for name in RECOMPUTE:
        for policy, without in ((name, 'normed'), (f'gated {name}', 'gated none')):
            if policy in cases:
                expected = dict(np.load(tmp_path / f'{without}.npz'))
                found = dict(np.load(tmp_path / f'{policy}.npz'))
                differing = [n for n in expected if not np.array_equal(found[n], expected[n])]
                assert differing == [], policy


def as_one_process(case: dict, count: int) -> dict:
    """Return the same training for one process: its batch has the images of all processes.

    Where the processes sum their gradients, its learning rate is larger by their number.
    """
    case = dict(case)
    case['batch_size'] *= count * case.pop('accumulation', 1)
    if case.pop('gradient_reduction', 'mean') == 'sum':
        case['lr'] = count * mpi_training.CONFIG['lr']
    return case


def test_images_have_different_numbers_of_ignored_pixels(data):
    """With equal numbers, a mean of the ranks' means would pass the test above."""
    ignored = {
        (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) == 255).sum()
        for path in (data / 'labels' / 'train').iterdir()
    }
    assert len(ignored) > 4


def test_ranks_with_different_graphs_are_summed_correctly_or_refused():
    """Gradients are summed correctly although each rank computes them in another order.

    A step is refused if batch norms of one rank would exchange sums with other layers of another.
    """
    job = mpi_jobs.run(2, 'tests/support/mpi_gradients.py')
    assert job.returncode == 0, job.stderr


def test_a_batch_norm_without_a_backward_pass_updates_its_statistics():
    """Gamma and beta are frozen and the input needs no gradient; only the statistics change."""

    class DoublingCommunicator:
        size, nnabla = 2, None

        def total(self, array):
            return 2 * array

    rng = np.random.RandomState(0)
    build = L.Build(
        train=True,
        communicator=DoublingCommunicator(),
        frozen=('norm/*/gamma', 'norm/*/beta'),
        recompute='bn_relu',
    )
    x = nn.Variable((2, 3, 4, 4))
    loss = L.mean_all(L.convolution(L.batch_norm(x, 'norm', build), 4, 1, 'conv', build))
    expected = np.zeros(3)
    for _ in range(3):
        x.d = rng.rand(*x.shape)
        expected = 0.9 * expected + 0.1 * x.d.mean((0, 2, 3))
        loss.forward(clear_no_need_grad=True)
        loss.backward(clear_buffer=True)
        mean = nn.get_parameters(grad_only=False)['norm/bn/mean'].d.ravel()
        assert mean == pytest.approx(expected, rel=1e-5)
