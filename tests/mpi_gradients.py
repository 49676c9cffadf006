"""Graphs that differ from rank to rank: their gradients are summed all the same; batch norms, which
must wait for each other on the way, find out.

    mpirun -n 2 python tests/mpi_gradients.py

A network may take a map apart in other functions when it has another size. Here one of two branches
is deeper, on each rank the other one, so that their parameters are met in opposite orders.
"""

import traceback

import nnabla as nn
import nnabla.functions as F
import numpy as np

from d3net import layers as L
from engine import context, gradients
from engine.communicator import Processes, joined

STEPS = 3


def loss_of(processes: Processes, communicator: gradients.Alone | None) -> nn.Variable:
    """The loss of this rank's own input, with batch norm if there is a communicator."""
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


def check_sums(processes: Processes):
    """The sums are those of what each rank finds alone."""
    gradients.BUCKET_BYTES = 4  # a bucket for each parameter
    loss = loss_of(processes, None)
    parameters = nn.get_parameters()
    backward = gradients.connect(processes, context.use('cpu')).backward_of(loss, parameters)
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
    """Each would get the sums of the other."""
    nn.clear_parameters()
    loss = loss_of(processes, gradients.connect(processes, context.use('cpu')))
    loss.forward()
    try:
        loss.backward()
    except SystemError as error:
        assert 'in different orders' in ''.join(traceback.format_exception(error))
    else:
        raise AssertionError('two layers have been mixed up')


def merged(ranks: list[dict]) -> dict[str, list]:
    return {name: [rank[name] for rank in ranks] for name in ranks[0]}


if __name__ == '__main__':
    with joined() as processes:
        check_sums(processes)
        check_batch_norms(processes)
