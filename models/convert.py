"""PyTorch's parameters as NNabla's: one mechanical rule for every network but D3Net.

``layer1.0.conv1.weight`` is ``layer1/0/conv1/conv/W``: the module path with ``/`` for ``.``, then
``conv/W``, ``conv/b``, or ``bn/gamma``, ``bn/beta``, ``bn/mean``, ``bn/var``.
"""

from collections.abc import Mapping

import numpy as np

CONVOLUTION = {'weight': 'conv/W', 'bias': 'conv/b'}
BATCH_NORM = {
    'weight': 'bn/gamma',
    'bias': 'bn/beta',
    'running_mean': 'bn/mean',
    'running_var': 'bn/var',
}
# What PyTorch's synchronized batch norms count besides, and CSAIL's.
COUNTERS = ('num_batches_tracked', '_tmp_running_mean', '_tmp_running_var', '_running_iter')


def names(state: Mapping[str, object]) -> dict[str, str]:
    """Reference name -> NNabla name, of every parameter of a ``state_dict``; counters are left
    out.
    """
    batch_norms = {n.rpartition('.')[0] for n in state if n.endswith('.running_mean')}
    result = {}
    for name in state:
        module, _, kind = name.rpartition('.')
        if kind not in COUNTERS:
            table = BATCH_NORM if module in batch_norms else CONVOLUTION
            result[name] = f'{module.replace(".", "/")}/{table[kind]}'
    return result


def from_pytorch(name: str, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays of a reference's ``state_dict`` by NNabla name, in NNabla's shapes, for the network
    ``name``.
    """
    arrays = {}
    for reference, own in names(state).items():
        array = np.asarray(state[reference], np.float32)
        arrays[own] = array.reshape(1, -1, 1, 1) if '/bn/' in own else array
    return arrays
