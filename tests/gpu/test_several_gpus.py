"""NCCL and training on several GPUs."""

import json

import nnabla as nn
import nnabla.functions as F
import numpy as np

from engine.device import context, extension
from engine.distributed.processes import Processes
from layers import functions as L
from support import gpu_tests, mpi_jobs, mpi_training, train_runs
from support.gpu_tests import DEVICE, REHEARSED, needs_gpu, train_arguments

pytestmark = gpu_tests.marks
data = train_runs.data

JOINED_BOUNDS = {'plain': 1e-4, 'normed': 1e-3}  # relative to a parameter's norm


@needs_gpu
def test_nccl_works_with_one_rank():
    """NNabla's communicator in this process: sums and synchronized batch norm."""
    choice = context.use('cudnn')
    communicator = extension.create_communicator(nn.get_current_context())
    communicator.init()
    assert (communicator.size, communicator.rank) == (1, 0)
    rng = np.random.RandomState(0)
    gradient = nn.NdArray.from_numpy_array(rng.rand(3, 5).astype(np.float32))
    before = gradient.data.copy()
    communicator.all_reduce([gradient], division=False, inplace=False)
    assert np.array_equal(gradient.data, before)

    def forward_and_backward(function, **options):
        x = nn.Variable.from_numpy_array(rng.standard_normal((2, 4, 9, 7)).astype(np.float32))
        x.need_grad = True
        parameters = [
            nn.Variable.from_numpy_array(np.full((1, 4, 1, 1), value, np.float32)).apply(
                need_grad=index < 2
            )
            for index, value in enumerate((0.1, 1.2, 0, 1))
        ]
        y = function(x, *parameters, batch_stat=True, **options)
        (loss := L.mean_all(y * y * y)).forward()
        x.grad.zero()
        loss.backward()
        return y.d.copy(), x.g.copy(), parameters[3].d.copy()

    state = rng.get_state()
    synchronized = forward_and_backward(F.sync_batch_normalization, comm=communicator)
    rng.set_state(state)
    for own, expected in zip(synchronized, forward_and_backward(F.batch_normalization)):
        assert np.linalg.norm(own - expected) <= 1e-4 * np.linalg.norm(expected)
    assert choice.name == 'cudnn'


def gpu_count():
    return 2 if REHEARSED else extension.load().get_device_count()


def test_training_on_all_gpus_equals_training_on_one(tmp_path, record_property):
    """Sums of gradients and synchronized batch norms, with one process per GPU."""
    count = gpu_count()
    mpi_training.write_data(tmp_path / 'data')
    cases = {name: {'network': name, 'batch_size': 2} for name in JOINED_BOUNDS}
    program = (
        'tests/support/mpi_training.py',
        tmp_path / 'data',
        tmp_path,
        json.dumps(cases),
        DEVICE,
    )
    job = mpi_jobs.run(count, *program)
    assert job.returncode == 0, job.stderr
    for name, bound in JOINED_BOUNDS.items():
        ranks = dict(np.load(tmp_path / f'{name}.npz'))
        case = {'network': name, 'batch_size': 2 * count}
        one = mpi_training.train(tmp_path / 'data', Processes(), case, DEVICE)
        worst = max(
            np.linalg.norm(ranks[key] - values) / np.linalg.norm(values)
            for key, values in one.items()
        )
        record_property(f'{name}, {count} ranks against one', f'{worst:.1e}')
        assert worst < bound


@needs_gpu
def test_more_ranks_than_gpus_are_refused(data, tmp_path):
    count = gpu_count()
    job = mpi_jobs.run(count + 1, *train_arguments(tmp_path, data))
    assert job.returncode == 2
    assert f'{count} GPU' in job.stderr
    assert f'rank {count} needs a' in job.stderr
    assert 'start one process per GPU' in job.stderr
    assert 'Traceback' not in job.stderr
