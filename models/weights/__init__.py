"""Weights of networks: find or download published files, load strictly, save atomically.

Typical use:

    path = weights.find('D3Net-S.h5')  # here, in the project, in the cache folder, or downloaded
    models.create('d3net_s')(x)        # registers the parameters
    weights.load(path)                 # loads all of them or none
"""

from models.weights import published
from models.weights.h5 import (
    LoadReport,
    class_table,
    input_statistics,
    load,
    read,
    save,
)
from models.weights.initial import blocks, initialise
from models.weights.lookup import MIRROR_VARIABLE, find, find_for, stored

__all__ = [
    'MIRROR_VARIABLE',
    'LoadReport',
    'blocks',
    'class_table',
    'find',
    'find_for',
    'initialise',
    'input_statistics',
    'load',
    'published',
    'read',
    'save',
    'stored',
]
