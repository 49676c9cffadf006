"""Select NNabla's context, CPU or GPU, and explain why a GPU cannot be used.

A GPU requires the wheels of requirements-cuda.txt and a driver. :mod:`engine.device.extension`
loads the wheels' libraries.
"""

import importlib
import os
from dataclasses import dataclass

import nnabla as nn
import nnabla.functions as F
import numpy as np
from nnabla.ext_utils import get_extension_context

from common.errors import UserError
from common.launcher import launched_rank
from engine.device import extension
from engine.device.extension import UnusableError
from layers.workspace import NNABLA_LOCK

GPU_ORDINALS = {1: 'a second one', 2: 'a third one'}  # names of GPUs by number, for messages
TF32_VARIABLE = 'NNABLA_CUDA_ALLOW_TF32'


@dataclass(frozen=True)
class DeviceChoice:
    """The NNabla context in use.

    Attributes:
        name: ``cpu`` or ``cudnn``.
        type_config: ``float`` or ``half``.
        reason: Why no GPU is used although ``auto`` was requested; otherwise None.
        device: Number of the GPU.
        tf32: Whether the GPU computes float32 products in TF32.
    """

    name: str
    type_config: str
    reason: str | None = None
    device: int = 0
    tf32: bool = False

    def __str__(self):
        where = f'the GPU {self.device}' if self.name == 'cudnn' else 'the CPU'
        precision = ', half precision' if self.type_config == 'half' else ''
        return f'running on {where}{precision}' + (f' ({self.reason})' if self.reason else '')


def use(
    name: str = 'auto', type_config: str = 'float', device: int = 0, tf32: bool = False
) -> DeviceChoice:
    """Make a context NNabla's default context.

    Args:
        name: ``cpu``, ``cudnn``, or ``auto`` for cudnn if it works and the CPU otherwise.
        type_config: ``float`` or ``half``.
        device: Number of this process on its machine; :func:`gpu_of` derives the GPU from it.
        tf32: Whether convolutions and matrix products use NVIDIA's TF32. The setting applies to the
            whole process and overrides the environment.

    Returns:
        The context in use.

    Raises:
        UserError: A GPU was requested and cannot be used, or half precision was requested on the
            CPU. On the CPU, NNabla's results in half precision are wrong, because sums are kept in
            half precision too, and it is 145 times slower.
    """
    os.environ[TF32_VARIABLE] = str(int(tf32))  # the extension reads it at its import
    device = gpu_of(device)
    reason = None if name == 'cpu' else why_no_gpu(device)
    if name == 'cudnn' and reason:
        raise UserError(f'-c cudnn: {reason}; use -c cpu to run without a GPU')
    chosen = 'cpu' if name == 'cpu' or reason else 'cudnn'
    if chosen == 'cpu' and type_config == 'half':
        raise UserError(
            '-t half: needs a GPU, as NNabla computes wrong results in half precision on the CPU'
            + (f' ({reason})' if reason else '')
        )
    ctx = get_extension_context(chosen, device_id=str(device), type_config=type_config)
    with NNABLA_LOCK:
        nn.set_default_context(ctx)
    return DeviceChoice(chosen, type_config, reason, device, tf32)


def gpu_of(local_rank: int) -> int:
    """Return the number of a process's GPU among those in ``CUDA_VISIBLE_DEVICES``.

    The number is ``local_rank``, or 0 if the variable names a single GPU. Slurm, for example, can
    make a single GPU visible to each process.

    Args:
        local_rank: Number of the process on its machine.
    """
    visible = os.environ.get('CUDA_VISIBLE_DEVICES', '')
    return 0 if visible and ',' not in visible else local_rank


def why_no_gpu(device: int = 0) -> str | None:
    """Try NNabla on a GPU and return why it does not work; None if it works."""
    try:
        cudnn = extension.load()
    except UnusableError as error:
        return str(error)
    try:
        count = cudnn.get_device_count()
        if not count:
            return 'this machine has no GPU'
        if device >= count:
            return (
                f'this machine has {count} GPU{"" if count == 1 else "s"}; rank {launched_rank()} '
                f'needs {GPU_ORDINALS.get(device, f"number {device + 1}")}: start one process per '
                'GPU'
            )
        ctx = get_extension_context('cudnn', device_id=str(device))
        with NNABLA_LOCK, nn.context_scope(ctx):
            y = F.relu(nn.Variable.from_numpy_array(np.ones((1, 1), np.float32)))
            y.forward()
            return None if y.d.sum() == 1 else 'the GPU computes wrong results'
    except Exception as error:
        if not (isinstance(error, RuntimeError) or extension.is_of_driver(error)):
            raise
        return f'the GPU does not respond: {extension.last_line(error)}'


def release_cached_memory(choice: DeviceChoice):
    """Return the memory of freed arrays, which NNabla caches for later arrays, to the system."""
    with NNABLA_LOCK:
        importlib.import_module(f'nnabla_ext.{choice.name}').clear_memory_cache()
