"""The networks of this project by name, and their weights.

net = models.create('d3net_s', num_classes=19)
logits, *auxiliary = net(x)
models.weights.load('D3Net-S.h5')
"""

from models import convert, weights
from models.errors import HyperParameterError, ModelError
from models.family import NetworkInfo
from models.registry import FAMILIES, Network, create, describe, family_of, names

__all__ = [
    'FAMILIES',
    'HyperParameterError',
    'NetworkInfo',
    'ModelError',
    'Network',
    'convert',
    'create',
    'describe',
    'family_of',
    'names',
    'weights',
]
