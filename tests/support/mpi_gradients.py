"""Check ranks whose graphs differ: gradients are summed correctly, batch norms are refused.

    mpirun -n 2 python tests/support/mpi_gradients.py

A network can build a graph of other functions for another input size. On each rank a different
one of the two branches is deeper, so that the ranks reach their parameters in opposite orders.
"""

import nnabla as nn
import nnabla.functions as F
import numpy as np

from common.errors import UserError
from engine.device import context
from engine.distributed import communicators
from engine.distributed.processes import Processes, joined
from layers import functions as L

STEPS = 3


def loss_of(
    processes: Processes, communicator: communicators.SingleProcessCommunicator | None
) -> nn.Variable:
    """Return the loss of this rank's own input, with batch norm if there is a communicator."""
    rng = np.random.RandomState(processes.rank)
    build = L.Build(train=True, communicator=communicator)
    x = nn.Variable.from_numpy_array(rng.rand(2, 3, 8, 8).astype(np.float32))
    branches = []
    for number in range(2):
        y = L.convolution(x, 4, 3, f'branch{number}', build)
        y = L.batch_norm(y, f'norm{number}', build) if communicator else y
        for _ in range(3 * (number == processes.rank)):
            y = F.add_scalar(y, 0.1)
        branches.append(L.mean_all(y * y * (number + 1)))
    return branches[0] + branches[1]


class RecordingCommunicator:
    """A stand-in for NNabla's communicator between GPUs, over MPI.

    Attributes:
        summed: The arrays of each all-reduce, as hashes, in the order of the calls.
    """

    def __init__(self, processes: Processes):
        self.summed, self._processes = [], processes

    def all_reduce(self, arrays, division, inplace):
        """Sum arrays over all ranks."""
        assert (division, inplace) == (False, False)
        self.summed.append([hash(array) for array in arrays])
        for array in arrays:
            array.data = self._processes.total(array.data.copy())


def check_order(processes: Processes):
    """Check the GPUs' communicator: all ranks sum the same parameters at the same time.

    Their backward passes reach the parameters in opposite orders. Each parameter is used twice.
    """
    nn.clear_parameters()
    communicators.NCCL_BUCKET_BYTES = 4
    recorder = RecordingCommunicator(processes)
    loss = loss_of(processes, None) + loss_of(processes, None)
    parameters = nn.get_parameters()
    met = []
    loss.forward()
    loss.backward(function_post_hook=lambda f: met.extend(hash(v.data) for v in f.inputs))
    names = {hash(p.data): name for name, p in parameters.items()}
    orders = processes.gather([names[key] for key in met if key in names])
    assert orders[0] != orders[1]
    check_sums(processes, communicators.NcclCommunicator(processes, recorder), loss)
    names = {hash(p.grad): name for name, p in parameters.items()}
    summed = processes.gather([[names[key] for key in bucket] for bucket in recorder.summed])
    assert summed[0] == summed[1]
    assert len(summed[0]) == STEPS * len(parameters)


def check_sums(
    processes: Processes, communicator: communicators.SingleProcessCommunicator, loss: nn.Variable
):
    """Check that the results are the sums of the gradients that the ranks compute alone."""
    parameters = nn.get_parameters()
    backward = communicator.backward_of(loss, parameters)
    for _ in range(STEPS):
        for p in parameters.values():
            p.grad.zero()
        loss.forward()
        loss.backward()
        own = {name: p.g.copy() for name, p in parameters.items()}
        expected = {name: sum(ranks) for name, ranks in merged(processes.gather(own)).items()}
        for p in parameters.values():
            p.grad.zero()
        loss.forward()
        backward(1.0)
        for name, p in parameters.items():
            assert np.allclose(p.g, expected[name], rtol=1e-6), name


def check_batch_norms(processes: Processes):
    """Check that batch norms in different orders are refused, as they would swap their sums."""
    nn.clear_parameters()
    communicator = communicators.connect(processes, context.use('cpu'))
    order = communicators.sync_batch_norm_order(loss_of(processes, communicator))
    assert set(order) == {'norm0/bn', 'norm1/bn'}
    assert communicator.all_are_ready([order[:2]])  # forward
    assert not communicator.all_are_ready(None if processes.rank else [order])
    try:
        communicator.all_are_ready([order])
    except UserError as error:
        assert 'in different orders' in str(error)
    else:
        raise AssertionError('sums of different layers were mixed up')


def merged(ranks: list[dict]) -> dict[str, list]:
    """Turn one dictionary for each rank into lists over ranks."""
    return {name: [rank[name] for rank in ranks] for name in ranks[0]}


if __name__ == '__main__':
    with joined() as processes:
        communicators.BUCKET_BYTES = 4  # one bucket for each parameter
        on_cpu = communicators.connect(processes, context.use('cpu'))
        check_sums(processes, on_cpu, loss_of(processes, None))
        check_order(processes)
        check_batch_norms(processes)
