"""Sum gradients over all processes; on CPUs, during the backward pass.

communicator = connect(processes, choice)
communicator.broadcast(parameters)
backward = communicator.backward_of(loss, parameters)      # once per graph
loss.forward(clear_no_need_grad=True)
backward(1.0)                                              # sums over all processes
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import nnabla as nn
import numpy as np
from nnabla.communicators import Communicator
from nnabla.ext_utils import get_extension_context

from common.errors import UserError
from engine.device import extension
from engine.device.context import DeviceChoice
from engine.distributed.processes import Processes
from layers import graph

if TYPE_CHECKING:
    from mpi4py import MPI  # initialises MPI

BUCKET_BYTES = 4 << 20  # size of an all-reduce on CPUs, during the backward pass
NCCL_BUCKET_BYTES = 64 << 20  # size of an all-reduce on GPUs, which needs a copy of this size
# Functions that communicate, NNabla's and those for the CPU. The value is the index of an input
# that is a parameter of the layer.
IN_FORWARD = {'SyncBatchNormalization': 1, 'SynchronizedBatchStatistics': 1}
IN_BACKWARD = {'SyncBatchNormalization': 1, 'SynchronizedNormalization': 2}

Backward = Callable[[float], None]


class SingleProcessCommunicator:
    """The communicator of a single process, and the interface of all communicators.

    Attributes:
        size: Number of processes, see :class:`layers.build.Build`.
        nnabla: NNabla's communicator between GPUs; None on CPUs.
    """

    nnabla: Communicator | None = None

    def __init__(self, processes: Processes):
        self._processes, self.size = processes, processes.size

    def total(self, array: np.ndarray) -> np.ndarray:
        """Return the sum of a host array over all processes, on every process."""
        return self._processes.total(array)

    def broadcast(self, parameters: Mapping[str, nn.Variable]):
        """Copy the values of rank 0 to all ranks.

        Args:
            parameters: The parameters by name; names and order must be the same on all ranks.
        """

    def backward_of(self, loss: nn.Variable, parameters: Mapping[str, nn.Variable]) -> Backward:
        """Return a function that runs a backward pass and sums the gradients over all processes.

        Args:
            loss: The graph's loss.
            parameters: The parameters whose gradients are summed, by name.

        Returns:
            A function that takes the gradient of ``loss``, such as 1.0 or the loss scale.
        """
        return lambda gradient: loss.backward(gradient, clear_buffer=True)

    def all_are_ready(self, orders: Sequence[tuple[str, ...]] | None) -> bool:
        """Return whether all processes are ready for the next step.

        Args:
            orders: The result of :func:`sync_batch_norm_order` for each graph of the step; None if
                this process failed to load its batches.

        Raises:
            UserError: All processes are ready, but their synchronized batch norms have different
                orders, so that values of different layers would be added up. Every process raises
                the error.
        """
        digest = None
        if orders is not None:
            digest = hashlib.sha256(repr(list(orders)).encode()).digest()
        digests = set(self._processes.gather(digest))
        if None in digests:
            return False
        if len(digests) > 1:
            raise UserError(
                'the processes run their synchronized batch norms in different orders, because '
                'their batches differ in size: train on crops of one size, or with --no-sync-bn'
            )
        return True


class MpiCommunicator(SingleProcessCommunicator):
    """A communicator over MPI, for CPUs; it sums each bucket of gradients once it is complete."""

    def __init__(self, processes):
        super().__init__(processes)
        # With an MPI communicator of their own, gradients can overtake other messages.
        self._of_gradients = processes.mpi.Dup()

    def broadcast(self, parameters):
        """Copy the values of rank 0 to all ranks."""
        for parameter in parameters.values():
            values = np.ascontiguousarray(parameter.d, np.float32)
            self._processes.mpi.Bcast(values, 0)
            parameter.d = values

    def backward_of(self, loss, parameters):
        """Return a backward pass with summed gradients, see :class:`SingleProcessCommunicator`."""
        uses = _uses(loss, parameters)
        buckets = _buckets(parameters, BUCKET_BYTES)

        def backward(gradient):
            sums = _BucketedAllReduce(self._of_gradients, buckets, dict(uses))
            loss.backward(gradient, clear_buffer=True, function_post_hook=sums.after)
            sums.finish()

        return backward


class NcclCommunicator(SingleProcessCommunicator):
    """A communicator over NCCL, for GPUs: NNabla's own.

    This communicator sums gradients after the backward pass, in buckets that are the same on all
    processes. NNabla's callback sums them during the backward pass, in the order of each process's
    graph. If these orders differ, as they can for batches of different sizes, the callback silently
    adds up the gradients of different parameters.
    """

    def __init__(self, processes, nnabla):
        super().__init__(processes)
        self.nnabla = nnabla

    def broadcast(self, parameters):
        """Copy the values of rank 0 to all ranks."""
        self.nnabla.bcast([p.data for p in parameters.values()], 0, inplace=False)

    def backward_of(self, loss, parameters):
        """Return a backward pass with summed gradients, see :class:`SingleProcessCommunicator`."""
        buckets = [[p.grad for p in bucket] for bucket in _buckets(parameters, NCCL_BUCKET_BYTES)]

        def backward(gradient):
            loss.backward(gradient, clear_buffer=True)
            for bucket in buckets:
                self.nnabla.all_reduce(bucket, division=False, inplace=False)

        return backward


def sync_batch_norm_order(loss: nn.Variable) -> tuple[str, ...]:
    """Return the names of a graph's synchronized batch norms in the order of execution.

    The names of the forward pass come first, then those of the backward pass.
    """
    names = {hash(p.data): name for name, p in nn.get_parameters(grad_only=False).items()}

    def layer(variable):
        while hash(variable.data) not in names:  # a reshaped parameter, as for channel_last
            variable = variable.parent.inputs[0]
        return names[hash(variable.data)].rpartition('/')[0]

    orders = (graph.functions(loss), IN_FORWARD), (graph.backward_order(loss), IN_BACKWARD)
    return tuple(
        layer(function.inputs[types[function.info.type_name]])
        for functions, types in orders
        for function in functions
        if function.info.type_name in types
    )


def connect(processes: Processes, choice: DeviceChoice) -> SingleProcessCommunicator:
    """Create the communicator between the processes, on the chosen kind of device.

    Args:
        processes: The processes of the job.
        choice: NNabla's context, CPU or GPU.

    Raises:
        UserError: NCCL cannot connect all processes, so each would train a network of its own.
    """
    if processes.size == 1:
        return SingleProcessCommunicator(processes)
    if choice.name == 'cpu':
        return MpiCommunicator(processes)
    _check_device(processes.local_rank, choice)
    try:
        context = get_extension_context('cudnn', device_id=str(choice.device))
        communicator = extension.create_communicator(context)
        communicator.init()
    except RuntimeError as error:
        findings = extension.examine()
        reason = extension.last_line(error) if findings.registered else findings.communicator
        raise UserError(
            f'mpirun started {processes.size} processes, but NNabla cannot create a communicator '
            f'between their GPUs ({reason}); see python -m engine.environment, or train on one GPU '
            'without mpirun'
        ) from error
    if communicator.size != processes.size:
        raise UserError(
            f'mpirun started {processes.size} processes, but NCCL connects {communicator.size}: '
            'mpirun and NNabla use different MPI installations; use the mpirun beside this python'
        )
    _check_device(communicator.local_rank, choice)
    return NcclCommunicator(processes, communicator)


def _check_device(number: int, choice: DeviceChoice):
    """Raise ``UserError`` unless the numbers of process and GPU are equal, as NNabla assumes.

    Args:
        number: Number of the process on its machine.
        choice: NNabla's context, with the number of the GPU.
    """
    if number != choice.device:
        raise UserError(
            f'NNabla connects process {number} of a machine through GPU {number} only, but this '
            f'process uses GPU {choice.device}: let every process see all GPUs '
            '(CUDA_VISIBLE_DEVICES; with Slurm --gpu-bind=none)'
        )


class _BucketedAllReduce:
    """The all-reduces of one backward pass, one for each bucket of parameters.

    A gradient is complete when the backward pass has run all functions that use its parameter. The
    order of completion depends on the graph, which can differ between batches of different sizes.
    So the buckets and their order are fixed and the same on all ranks, and each bucket waits for
    those before it.

    Args:
        mpi: Communicator of mpi4py.
        buckets: The parameters of each bucket.
        uses: Number of functions that use a parameter, by the hash of the parameter's array. The
            numbers are counted down during the pass.
    """

    def __init__(self, mpi, buckets: list[list[nn.Variable]], uses: dict[int, int]):
        self._mpi, self._buckets, self._uses = mpi, buckets, uses
        keys = [[hash(parameter.data) for parameter in bucket] for bucket in buckets]
        self._missing = [sum(key in uses for key in bucket) for bucket in keys]
        self._place = {key: number for number, bucket in enumerate(keys) for key in bucket}
        self._pending: list[tuple['MPI.Request', np.ndarray]] = []

    def after(self, function):
        """Count down the uses of a function's parameters; called after its backward pass."""
        for variable in function.inputs:
            key = hash(variable.data)
            if key in self._uses:
                self._uses[key] -= 1
                if not self._uses[key]:
                    self._missing[self._place[key]] -= 1
                    self._send()

    def finish(self):
        """Send the remaining buckets, wait for all sums and store them as gradients.

        The buckets include parameters on which the loss does not depend.
        """
        self._missing = [0] * len(self._buckets)
        self._send()
        for (request, sums), bucket in zip(self._pending, self._buckets):
            request.Wait()
            start = 0
            for parameter in bucket:
                own = sums[start : start + parameter.size]
                parameter.g[...] = own.reshape(parameter.shape)
                start += parameter.size

    def _send(self):
        """Start the all-reduces of all complete buckets, in order."""
        from mpi4py import MPI  # imported late, as the import initialises MPI

        while len(self._pending) < len(self._buckets) and not self._missing[len(self._pending)]:
            bucket = self._buckets[len(self._pending)]
            sums = np.concatenate([parameter.g.ravel() for parameter in bucket])
            self._pending.append((self._mpi.Iallreduce(MPI.IN_PLACE, sums), sums))
            MPI.Request.Testall([request for request, _ in self._pending])  # lets MPI progress


def _buckets(parameters: Mapping[str, nn.Variable], size: int) -> list[list[nn.Variable]]:
    """Group parameters into buckets of about ``size`` bytes, in the order of the backward pass.

    The last parameter comes first.
    """
    buckets: list[list[nn.Variable]] = []
    left = 0
    for parameter in reversed([*parameters.values()]):
        if left <= 0:
            buckets.append([])
            left = size
        buckets[-1].append(parameter)
        left -= 4 * parameter.size
    return buckets


def _uses(loss, parameters) -> dict[int, int]:
    """Count the functions that use each parameter, by the hash of the parameter's array."""
    uses = dict.fromkeys((hash(p.data) for p in parameters.values()), 0)

    def count(function):
        for variable in function.inputs:
            if hash(variable.data) in uses:
                uses[hash(variable.data)] += 1

    loss.visit(count)
    return {key: number for key, number in uses.items() if number}
