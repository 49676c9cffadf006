"""Conversion of parameters between PyTorch and NNabla.

One mechanical rule serves every network but D3Net: ``layer1.0.conv1.weight`` becomes
``layer1/0/conv1/conv/W``. An NNabla name is the module path with ``/`` for ``.``, followed by a
suffix. The suffixes are ``conv/W`` and ``conv/b`` for a convolution, ``bn/gamma``, ``bn/beta``,
``bn/mean`` and ``bn/var`` for a batch norm. D3Net has no PyTorch original; its names are
those of Sony's NNabla files.

This command converts checkpoint files, without PyTorch:

    python -m models.convert --network ddrnet23_slim_aux -i best_val_smaller.pth -o ddrnet23_slim.h5
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from models.registry import family_of

CONVOLUTION = {'weight': 'conv/W', 'bias': 'conv/b'}
BATCH_NORM = {
    'weight': 'bn/gamma',
    'bias': 'bn/beta',
    'running_mean': 'bn/mean',
    'running_var': 'bn/var',
}
PYTORCH_LEAVES = {own: leaf for table in (CONVOLUTION, BATCH_NORM) for leaf, own in table.items()}
# Buffers of batch norms that are no parameters: PyTorch's, and those of CSAIL's synchronized norms.
COUNTERS = ('num_batches_tracked', '_tmp_running_mean', '_tmp_running_var', '_running_iter')


def names(state: Mapping[str, object]) -> dict[str, str]:
    """Map the names of a PyTorch ``state_dict`` to NNabla's names, without counters.

    Args:
        state: A ``state_dict``, of which only the names are read.

    Returns:
        NNabla's names by PyTorch's names.

    Raises:
        ModelError: A name belongs neither to a convolution nor to a batch norm.
    """
    batch_norms = {n.rpartition('.')[0] for n in state if n.endswith('.running_mean')}
    result = {}
    for name in state:
        module, _, kind = name.rpartition('.')
        if kind in COUNTERS:
            continue
        table = BATCH_NORM if module in batch_norms else CONVOLUTION
        if not module or kind not in table:
            raise ModelError(f'{name} is not a parameter of a convolution or a batch norm')
        result[name] = f'{module.replace(".", "/")}/{table[kind]}'
    return result


def reference_name(own: str) -> str:
    """Return the PyTorch name of an NNabla parameter, the inverse of :func:`names`.

    The inverse is unique because no module name contains a ``/``.

    Raises:
        ModelError: The name belongs neither to a convolution nor to a batch norm.
    """
    module, kind, leaf = ['', '', *own.rsplit('/', 2)][-3:]
    if not module or f'{kind}/{leaf}' not in PYTORCH_LEAVES:
        raise ModelError(f'{own} is not a parameter of a convolution or a batch norm')
    return f'{module.replace("/", ".")}.{PYTORCH_LEAVES[f"{kind}/{leaf}"]}'


def from_pytorch(
    name: str, state: Mapping[str, NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    """Convert a PyTorch ``state_dict`` to NNabla's names and shapes.

    Args:
        name: Name of the network.
        state: Arrays by the names of the reference; counters are ignored.

    Returns:
        float32 arrays by NNabla name; those of batch norms are (1, C, 1, 1).

    Raises:
        ModelError: The network is unknown or has no PyTorch original, or the name of an array
            belongs neither to a convolution nor to a batch norm.
    """
    check_convertible(name)
    arrays = {}
    for reference, own in names(state).items():
        array = np.asarray(state[reference], np.float32)
        arrays[own] = array.reshape(1, -1, 1, 1) if '/bn/' in own else array
    return arrays


def to_pytorch(
    name: str, arrays: Mapping[str, NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    """Convert NNabla parameters to PyTorch's names and shapes, the inverse of ``from_pytorch``.

    Differs from the original: the counters ``num_batches_tracked``, which PyTorch adds itself to a
    dictionary without them, are not there.

    Args:
        name: Name of the network.
        arrays: Arrays by NNabla name.

    Returns:
        float32 arrays by the names of the reference. Converted to tensors, they can be passed to
        the reference's ``load_state_dict``.

    Raises:
        ModelError: The network is unknown or has no PyTorch original, or the name of an array
            belongs neither to a convolution nor to a batch norm.
    """
    check_convertible(name)
    state = {}
    for own, array in arrays.items():
        array = np.asarray(array, np.float32)
        state[reference_name(own)] = array.ravel() if '/bn/' in own else array
    return state


def check_convertible(name: str) -> None:
    """Raise ``ModelError`` if a network is unknown or has no PyTorch original."""
    family = family_of(name)
    if family.original is None:
        raise ModelError(
            f'{name} has no PyTorch original to convert from or to: weights of the family '
            f'{family.name} are NNabla .h5 files, which load without conversion'
        )
