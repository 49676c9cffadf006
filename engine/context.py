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
    or preferred; device: the number of the GPU.
    """

    name: str
    type_config: str
    reason: str | None = None
    device: int = 0

    def __str__(self):
        where = 'the GPU' if self.name == 'cudnn' else 'the CPU'
        precision = ', half precision' if self.type_config == 'half' else ''
        return f'running on {where}{precision}' + (f' ({self.reason})' if self.reason else '')


def use(
    name: str = 'auto', type_config: str = 'float', device: int = 0, tf32: bool = False
) -> Choice:
    """Make a context NNabla's default. ``auto`` is cudnn when it works, else the CPU; device is the
    number of the GPU; tf32: NVIDIA's coarser float for convolutions and matrix products, for the
    whole process.

    Raises ``UserError`` when a GPU is asked for and cannot be used, and for half precision on the
    CPU, where NNabla's results are wrong (sums are kept in half precision too) and 145 times
    slower.
    """
    if tf32:
        os.environ[TF32_VARIABLE] = '1'  # read when the extension is imported
    reason = None if name == 'cpu' else why_no_gpu()
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
    return Choice(chosen, type_config, reason, device)


def why_no_gpu() -> str | None:
    """What keeps NNabla from running on a GPU here, found by trying; None when it runs."""
    load_cuda_libraries()
    try:
        importlib.import_module('nnabla_ext.cudnn')
    except ModuleNotFoundError:
        return f'nnabla-ext-cuda120 is not installed: {INSTALL_CUDA}'
    except ImportError as error:
        library = str(error).split(':')[0]
        if library.startswith('libcuda.so'):
            return f'no NVIDIA driver: {library} is missing'
        return f'{library} is missing: {INSTALL_CUDA}'
    try:
        with nn.context_scope(get_extension_context('cudnn', device_id='0')):
            y = F.relu(nn.Variable.from_numpy_array(np.ones((1, 1), np.float32)))
            y.forward()
            return None if y.d.sum() == 1 else 'the GPU computes wrong numbers'
    except RuntimeError as error:
        return f'the GPU does not answer: {str(error).strip().splitlines()[-1]}'


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


def float_context(context: nn.Context | None = None) -> nn.Context:
    """``context``, by default the current one, without the parts that compute in half precision."""
    context = context or nn.get_current_context()
    backend = [part for part in context.backend if part.endswith(':float')]
    return nn.Context(backend, context.array_class, context.device_id)


def release_cached_memory(choice: Choice):
    """Give the memory of freed arrays, which NNabla keeps for arrays of the same size, back to the
    system.
    """
    importlib.import_module(f'nnabla_ext.{choice.name}').clear_memory_cache()
