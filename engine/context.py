"""NNabla contexts: where a graph runs, in which precision, and why a GPU cannot be used when it
cannot.

A GPU machine needs the wheels of requirements-cuda.txt and a driver; the wheels' libraries are
loaded from here.
"""

import ctypes
import importlib
import os
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import nnabla as nn
import nnabla.functions as F
import numpy as np
from nnabla.ext_utils import get_extension_context

from command import UserError

TF32_VARIABLE = 'NNABLA_CUDA_ALLOW_TF32'
INSTALL_CUDA = 'python -m pip install -r requirements-cuda.txt'
# Not needed by NNabla: recurrent layers of cuDNN, and a library that takes over the CPU's BLAS
# calls when it is loaded.
NOT_LOADED = ('libcudnn_adv', 'libnvblas')


@dataclass(frozen=True)
class Choice:
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
) -> Choice:
    """Make a context NNabla's default. ``auto`` is cudnn when it works, else the CPU; device is the
    number of the GPU; tf32: NVIDIA's coarser float for convolutions and matrix products, for the
    whole process, whatever its environment says.

    A GPU is counted among those that ``CUDA_VISIBLE_DEVICES`` leaves. Where that is one alone, as
    Slurm gives each process its own, it is that one, number 0, whatever ``device`` says.

    Raises ``UserError`` when a GPU is asked for and cannot be used, and for half precision on the
    CPU, where NNabla's results are wrong (sums are kept in half precision too) and 145 times
    slower.
    """
    os.environ[TF32_VARIABLE] = str(int(tf32))  # read when the extension is imported
    if _sees_one_gpu():
        device = 0
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
    return Choice(chosen, type_config, reason, device, tf32)


def _sees_one_gpu() -> bool:
    visible = os.environ.get('CUDA_VISIBLE_DEVICES', '')
    return bool(visible) and ',' not in visible


def why_no_gpu(device: int = 0) -> str | None:
    """What keeps NNabla from running on the GPU of that number, found by trying; None when it
    runs.
    """
    load_cuda_libraries()
    try:
        extension = importlib.import_module('nnabla_ext.cudnn')
    except ModuleNotFoundError:
        return f'nnabla-ext-cuda120 is not installed: {INSTALL_CUDA}'
    except ImportError as error:
        library = str(error).split(':')[0]
        if library.startswith('libcuda.so'):
            return f'no NVIDIA driver: {library} is missing'
        return f'{library} is missing: {INSTALL_CUDA}'
    except Exception as error:  # at its import it asks the driver which GPUs there are
        if not _is_of_driver(error):
            raise
        return f'NNabla refuses the GPU: {_last_line(error)}'
    try:
        count = extension.get_device_count()
        if device >= count:
            return f'{count} GPUs here, this process needs number {device}: start fewer processes'
        with nn.context_scope(get_extension_context('cudnn', device_id=str(device))):
            y = F.relu(nn.Variable.from_numpy_array(np.ones((1, 1), np.float32)))
            y.forward()
            return None if y.d.sum() == 1 else 'the GPU computes wrong numbers'
    except Exception as error:
        if not (isinstance(error, RuntimeError) or _is_of_driver(error)):
            raise
        return f'the GPU does not answer: {_last_line(error)}'


def _is_of_driver(error: Exception) -> bool:
    """Whether it tells of a GPU that cannot be used; the classes of NVML's errors are nowhere to be
    had when its package is missing.
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    return isinstance(error, ValueError) or 'NVMLError' in names


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def load_cuda_libraries():
    """Load the libraries of the ``nvidia-*-cu12`` wheels, so that the CUDA extension finds them;
    none is no error.

    The extension opens libmpi and libnccl by itself when it is imported; it is told where the
    wheels put them.
    """
    folder = Path(sysconfig.get_paths()['purelib']) / 'nvidia'
    os.environ.setdefault('OMPI_HOME', sys.prefix)
    os.environ.setdefault('NCCL_HOME', str(folder / 'nccl'))
    waiting = [
        path
        for path in sorted(folder.glob('*/lib/lib*.so*'))
        if not path.name.startswith(NOT_LOADED)
    ]
    while waiting:  # they depend on each other, in no order that their names show
        failed = []
        for path in waiting:
            try:
                ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
            except OSError:
                failed.append(path)
        if len(failed) == len(waiting):
            return  # the import of the extension says which library is missing
        waiting = failed


def release_cached_memory(choice: Choice):
    """Give the memory of freed arrays, which NNabla keeps for arrays of the same size, back to the
    system.
    """
    importlib.import_module(f'nnabla_ext.{choice.name}').clear_memory_cache()
