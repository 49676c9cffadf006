"""Gradients of all processes, summed; on CPUs while the backward pass is still running.

communicator = connect(processes, choice)
communicator.broadcast(parameters)
backward = communicator.backward_of(loss, parameters)      # once a graph
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

BUCKET_BYTES = 4 << 20  # that travel together while the backward pass is running
NCCL_BUCKET_BYTES = 64 << 20  # a copy of so much is in the GPU's memory while it is summed
# Functions that talk to other processes, NNabla's and those for the CPU, and the number of an input
# of theirs that is a parameter.
IN_FORWARD = {'SyncBatchNormalization': 1, 'SynchronizedBatchStatistics': 1}
IN_BACKWARD = {'SyncBatchNormalization': 1, 'SynchronizedNormalization': 2}

Backward = Callable[[float], None]


class SingleProcessCommunicator:
    """One process: nothing to exchange. The interface of all communicators.

    size, nnabla, total: see :class:`layers.build.Build`.
    """

    nnabla: Communicator | None = None

    def __init__(self, processes: Processes):
        self._processes, self.size = processes, processes.size

    def total(self, array: np.ndarray) -> np.ndarray:
        """The sum of a host array over all processes, on all of them."""
        return self._processes.total(array)

    def broadcast(self, parameters: Mapping[str, nn.Variable]):
        """Give the values of rank 0 to all; the names and their order are the same on all."""

    def backward_of(self, loss: nn.Variable, parameters: Mapping[str, nn.Variable]) -> Backward:
        """A backward pass from ``loss`` with a given gradient, after which the gradients of
        ``parameters`` are the sums over all processes.
        """
        return lambda gradient: loss.backward(gradient, clear_buffer=True)

    def all_are_ready(self, orders: Sequence[tuple[str, ...]] | None) -> bool:
        """Return whether all processes have what a step takes.

        Args:
            orders: What :func:`sync_batch_norm_order` returns for each graph of the step; None where this
                process has no batches, as they cannot be loaded.

        Raises:
            UserError: On all processes, when all are ready, but come to their synchronized batch
                norms in different orders: a batch norm that meets another one would take its sums
                for its own.
        """
        digest = None
        if orders is not None:
            digest = hashlib.sha256(repr(list(orders)).encode()).digest()
        digests = set(self._processes.gather(digest))
        if None in digests:
            return False
        if len(digests) > 1:
            raise UserError(
                'the processes come to their synchronized batch norms in different orders, as '
                'their batches differ in size: train on crops of one size, or with --no-sync-bn'
            )
        return True


class MpiCommunicator(SingleProcessCommunicator):
    """Over MPI, for the CPU: buckets of gradients are summed as soon as they are complete."""

    def __init__(self, processes):
        super().__init__(processes)
        self._of_gradients = processes.mpi.Dup()  # their order among other messages is free

    def broadcast(self, parameters):
        for parameter in parameters.values():
            values = np.ascontiguousarray(parameter.d, np.float32)
            self._processes.mpi.Bcast(values, 0)
            parameter.d = values

    def backward_of(self, loss, parameters):
        uses = _uses(loss, parameters)
        buckets = _buckets(parameters, BUCKET_BYTES)

        def backward(gradient):
            sums = _BucketedAllReduce(self._of_gradients, buckets, dict(uses))
            loss.backward(gradient, clear_buffer=True, function_post_hook=sums.after)
            sums.finish()

        return backward


class NcclCommunicator(SingleProcessCommunicator):
    """Over NCCL, for GPUs: NNabla's own communicator.

    Gradients are summed after the backward pass, in buckets that are the same on all processes.
    NNabla's callback, which sums them while the backward pass is running, takes them in the order
    of each process's graph: where those differ, as they may for batches of different sizes, it adds
    up the gradients of different parameters without a word.
    """

    def __init__(self, processes, nnabla):
        super().__init__(processes)
        self.nnabla = nnabla

    def broadcast(self, parameters):
        self.nnabla.bcast([p.data for p in parameters.values()], 0, inplace=False)

    def backward_of(self, loss, parameters):
        buckets = [[p.grad for p in bucket] for bucket in _buckets(parameters, NCCL_BUCKET_BYTES)]

        def backward(gradient):
            loss.backward(gradient, clear_buffer=True)
            for bucket in buckets:
                self.nnabla.all_reduce(bucket, division=False, inplace=False)

        return backward


def sync_batch_norm_order(loss: nn.Variable) -> tuple[str, ...]:
    """Return the names of the synchronized batch norms of a graph, in the order in which a forward
    and a backward pass meet them.
    """
    names = {hash(p.data): name for name, p in nn.get_parameters(grad_only=False).items()}

    def layer(variable):
        while hash(variable.data) not in names:  # reshaped, as for channel_last
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
    """The communicator between the processes on the chosen kind of device.

    Raises ``UserError`` when several processes cannot be joined: they would train clones.
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
            f'mpirun has started {processes.size} processes, but NNabla cannot make a communicator '
            f'between their GPUs ({reason}); see python -m engine.environment, or train on one '
            'with plain python'
        ) from error
    if communicator.size != processes.size:
        raise UserError(
            f'mpirun has started {processes.size} processes, but NCCL joins {communicator.size}: '
            'they are of different MPI installations; use the mpirun beside this python'
        )
    _check_device(communicator.local_rank, choice)
    return NcclCommunicator(processes, communicator)


def _check_device(number: int, choice: DeviceChoice):
    """number: of the process on its machine, for which the communicator takes the GPU as well."""
    if number != choice.device:
        raise UserError(
            f'NNabla joins process {number} of a machine to others on GPU {number} alone, this one '
            f'has GPU {choice.device}: let every process see all GPUs (CUDA_VISIBLE_DEVICES; with '
            'Slurm --gpu-bind=none)'
        )


class _BucketedAllReduce:
    """The all-reduces of one backward pass.

    A gradient is complete after its parameter's last use. In which order that happens is the
    graph's, and the graphs of batches of different sizes may differ. So the buckets and their order
    are fixed, the same on all ranks: each waits for those before it.
    """

    def __init__(self, mpi, buckets: list[list[nn.Variable]], uses: dict[int, int]):
        self._mpi, self._buckets, self._uses = mpi, buckets, uses
        keys = [[hash(parameter.data) for parameter in bucket] for bucket in buckets]
        self._missing = [sum(key in uses for key in bucket) for bucket in keys]
        self._place = {key: number for number, bucket in enumerate(keys) for key in bucket}
        self._pending: list[tuple['MPI.Request', np.ndarray]] = []

    def after(self, function):
        """Called when the backward pass of a function is done."""
        for variable in function.inputs:
            key = hash(variable.data)
            if key in self._uses:
                self._uses[key] -= 1
                if not self._uses[key]:
                    self._missing[self._place[key]] -= 1
                    self._send()

    def finish(self):
        """Wait for the sums; parameters that the loss does not depend on take part as well."""
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
        from mpi4py import MPI  # initialises MPI: not in processes that do not use it

        while len(self._pending) < len(self._buckets) and not self._missing[len(self._pending)]:
            bucket = self._buckets[len(self._pending)]
            sums = np.concatenate([parameter.g.ravel() for parameter in bucket])
            self._pending.append((self._mpi.Iallreduce(MPI.IN_PLACE, sums), sums))
            MPI.Request.Testall([request for request, _ in self._pending])  # moves them on


def _buckets(parameters: Mapping[str, nn.Variable], size: int) -> list[list[nn.Variable]]:
    """Parameters in buckets of about ``size`` bytes, the last ones first, as a backward pass meets
    them.
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
    """How many functions use each of the parameters."""
    uses = dict.fromkeys((hash(p.data) for p in parameters.values()), 0)

    def count(function):
        for variable in function.inputs:
            if hash(variable.data) in uses:
                uses[hash(variable.data)] += 1

    loss.visit(count)
    return {key: number for key, number in uses.items() if number}
