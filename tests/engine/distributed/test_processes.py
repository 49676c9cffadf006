"""Several processes train as one process does with all their batches, through the real trainer.

Floats differ in the order of sums only. What may be left of that is a bound on ``|a - b| / |b|``
for each parameter after three steps, running statistics included.
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
CASES = {  # with batches of 2 for each process and update
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
SYNCHRONIZED = 2e-5  # statistics of a batch magnify differences of rounding; else 1e-6


@pytest.fixture
def data(tmp_path):
    mpi_training.write_data(tmp_path / 'data')
    return tmp_path / 'data'


@pytest.mark.parametrize('count', [2, 4])
def test_ranks_equal_one_process_with_all_their_batches(data, tmp_path, count):
    """D3Net with batch statistics is chaotic in float32: there it is the first loss, and the
    statistics after the first step.
    """
    job = mpi_jobs.run(count, 'tests/support/mpi_training.py', data, tmp_path, json.dumps(CASES))
    assert job.returncode == 0, job.stderr
    for name, case in CASES.items():
        ranks = dict(np.load(tmp_path / f'{name}.npz'))
        one = mpi_training.train(data, Processes(), as_one_process(case, count))
        assert ranks.keys() == one.keys()
        differences = {
            parameter: np.linalg.norm(ranks[parameter] - values) / np.linalg.norm(values)
            for parameter, values in one.items()
        }
        if name == 'local':  # what would be found if the ranks did not talk
            assert max(differences.values()) > 1e-3
            continue
        if name == 'd3net':
            compared = ('losses', '/bn/mean', '/bn/var')
            differences = {n: d for n, d in differences.items() if n.endswith(compared)}
        worst = max(differences, key=differences.get)
        synchronized = case.get('network') in ('normed', 'gated') or name == 'd3net'
        assert differences[worst] < (SYNCHRONIZED if synchronized else 1e-6), (name, worst)
    for prefix, without in (('', 'normed'), ('gated ', 'gated none')):
        expected = dict(np.load(tmp_path / f'{without}.npz'))
        for policy in RECOMPUTE:
            found = dict(np.load(tmp_path / f'{prefix}{policy}.npz'))
            assert [n for n in expected if not np.array_equal(found[n], expected[n])] == [], policy


def as_one_process(case: dict, count: int) -> dict:
    """The same training without other processes: a larger batch, or a larger step."""
    case = dict(case)
    case['batch_size'] *= count * case.pop('accumulation', 1)
    if case.pop('gradient_reduction', 'mean') == 'sum':
        case['lr'] = count * mpi_training.CONFIG['lr']
    return case


def test_the_ranks_ignore_different_numbers_of_pixels(data):
    """Else a mean of the ranks' means would do for the test above."""
    ignored = {
        (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) == 255).sum()
        for path in (data / 'labels' / 'train').iterdir()
    }
    assert len(ignored) > 4


def test_processes_know_how_many_share_their_machine():
    """Here all do."""
    program = (
        'from engine.distributed.processes import joined\n'
        'with joined() as processes:\n'
        '    print(processes.local_rank, processes.local_size, flush=True)\n'
    )
    job = mpi_jobs.run(3, '-c', program)
    assert job.returncode == 0, job.stderr
    assert sorted(job.stdout.split('\n')) == ['', '0 3', '1 3', '2 3']
    assert (Processes().local_rank, Processes().local_size) == (0, 1)


def test_graphs_that_differ_from_rank_to_rank():
    """Gradients are summed whatever order a rank finds them in, on CPUs and GPUs; a step whose
    batch norms would meet others is refused.
    """
    job = mpi_jobs.run(2, 'tests/support/mpi_gradients.py')
    assert job.returncode == 0, job.stderr


def test_a_batch_norm_without_a_backward_pass_takes_the_statistics_of_each_batch():
    """Where everything up to it is frozen but its statistics."""

    class Twins:
        size, nnabla = 2, None

        def total(self, array):
            return 2 * array

    rng = np.random.RandomState(0)
    build = L.Build(
        train=True,
        communicator=Twins(),
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
