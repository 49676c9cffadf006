"""NNabla contexts: where a graph runs, in which precision, and why a GPU cannot be used when it
cannot.

A GPU machine needs the wheels of requirements-cuda.txt and a driver; :mod:`engine.device.extension`
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

GPU_ORDINALS = {1: 'a second one', 2: 'a third one'}  # GPUs by their numbers, in words
TF32_VARIABLE = 'NNABLA_CUDA_ALLOW_TF32'


@dataclass(frozen=True)
class DeviceChoice:
    """The context in use. name: ``cpu`` or ``cudnn``; reason: why not a GPU, when one was asked for
    or preferred; device: the number of the GPU; tf32: whether its float is the coarser one.
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
    """Make a context NNabla's default. ``auto`` is cudnn when it works, else the CPU; device is the
    number of the GPU, see :func:`gpu_of`; tf32: NVIDIA's coarser float for convolutions and matrix
    products, for the whole process, whatever its environment says.

    Raises ``UserError`` when a GPU is asked for and cannot be used, and for half precision on the
    CPU, where NNabla's results are wrong (sums are kept in half precision too) and 145 times
    slower.
    """
    os.environ[TF32_VARIABLE] = str(int(tf32))  # read when the extension is imported
    device = gpu_of(device)
    reason = None if name == 'cpu' else why_no_gpu(device)
    if name == 'cudnn' and reason:
        raise UserError(f'-c cudnn: {reason}; -c cpu runs without a GPU')
    chosen = 'cpu' if name == 'cpu' or reason else 'cudnn'
    if chosen == 'cpu' and type_config == 'half':
        raise UserError(
            '-t half: NNabla computes wrongly in half precision on the CPU, it needs a GPU'
            + (f' ({reason})' if reason else '')
        )
    ctx = get_extension_context(chosen, device_id=str(device), type_config=type_config)
    nn.set_default_context(ctx)
    return DeviceChoice(chosen, type_config, reason, device, tf32)


def gpu_of(local_rank: int) -> int:
    """Return the number of a process's GPU among those that ``CUDA_VISIBLE_DEVICES`` leaves.

    It is the process's number on its machine; where one GPU alone is visible, as Slurm gives each
    process its own, it is that one, number 0.
    """
    visible = os.environ.get('CUDA_VISIBLE_DEVICES', '')
    return 0 if visible and ',' not in visible else local_rank


def why_no_gpu(device: int = 0) -> str | None:
    """What keeps NNabla from running on the GPU of that number, found by trying; None when it
    runs.
    """
    try:
        cudnn = extension.load()
    except UnusableError as error:
        return str(error)
    try:
        count = cudnn.get_device_count()
        if not count:
            return 'no GPU here'
        if device >= count:
            return (
                f'{count} GPU{"" if count == 1 else "s"} here; rank {launched_rank()} needs '
                f'{GPU_ORDINALS.get(device, f"number {device + 1}")}: start one process a GPU'
            )
        with nn.context_scope(get_extension_context('cudnn', device_id=str(device))):
            y = F.relu(nn.Variable.from_numpy_array(np.ones((1, 1), np.float32)))
            y.forward()
            return None if y.d.sum() == 1 else 'the GPU computes wrong numbers'
    except Exception as error:
        if not (isinstance(error, RuntimeError) or extension.is_of_driver(error)):
            raise
        return f'the GPU does not answer: {extension.last_line(error)}'


def release_cached_memory(choice: DeviceChoice):
    """Give the memory of freed arrays, which NNabla keeps for arrays of the same size, back to the
    system.
    """
    importlib.import_module(f'nnabla_ext.{choice.name}').clear_memory_cache()
