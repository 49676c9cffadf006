"""Semantic segmentation networks by name, and their weights.

    net = models.create('d3net_s', num_classes=19)
    logits, *auxiliary = net(x)
    models.weights.load('D3Net-S.h5')

``models.register`` adds your own networks: see :mod:`models.family`.
"""

import common  # noqa: F401  (before NNabla, whose messages at its import it suppresses)
from models import convert, csail, d3net_family, dabnet, ddrnet, edgeailite, weights
from models.errors import HyperParameterError, ModelError
from models.family import Family, NetworkInfo, Original, Published
from models.registry import FAMILIES, Network, create, describe, family_of, names, register

__all__ = [
    'FAMILIES',
    'Family',
    'HyperParameterError',
    'ModelError',
    'Network',
    'NetworkInfo',
    'Original',
    'Published',
    'convert',
    'create',
    'describe',
    'family_of',
    'names',
    'register',
    'weights',
]

for _family in (csail, d3net_family, dabnet, ddrnet, edgeailite):
    register(_family.FAMILY)
