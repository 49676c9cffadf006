"""Input statistics of a network (channel order, mean, deviation) and their storage with weights.

The same network may have been trained on different inputs: CSAIL published weights of two kinds
with the same names and shapes (see :mod:`models.csail`). Files of weights therefore carry the
statistics as HDF5 attributes, which NNabla's and Sony's loaders do not read.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from common.log import LOG
from models.family import NetworkInfo, NetworkKeys, Statistics
from models.registry import Network

KEYS = ('mean', 'std', 'channel_order')  # config keys and fields of NetworkInfo
ATTRIBUTE_PREFIX = 'input_'  # start of the names of the HDF5 attributes
ATTRIBUTES = tuple(ATTRIBUTE_PREFIX + key for key in KEYS)
CHANNEL_ORDERS = ('rgb', 'bgr')


def of_info(info: NetworkInfo) -> dict[str, Any]:
    """Return the input statistics in a network's facts, by the names in ``KEYS``."""
    return {key: getattr(info, key) for key in KEYS}


def attributes(statistics: Statistics) -> dict[str, Any]:
    """Return the HDF5 attributes that store ``statistics`` in a file of weights."""
    return {ATTRIBUTE_PREFIX + key: statistics[key] for key in KEYS}


def from_attributes(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the statistics in a file's attributes, or None if they are absent or invalid."""
    try:
        mean, std = (
            tuple(float(v) for v in found[ATTRIBUTE_PREFIX + key]) for key in ('mean', 'std')
        )
        order = str(found[ATTRIBUTE_PREFIX + 'channel_order'])
    except (KeyError, TypeError, ValueError):
        return None
    if len(mean) != 3 or len(std) != 3 or order not in CHANNEL_ORDERS:
        return None
    if not all(map(math.isfinite, mean + std)) or min(std) <= 0:
        return None
    return {'mean': mean, 'std': std, 'channel_order': order}


def apply(network: Network, statistics: Statistics | None) -> Network:
    """Return a copy of the network with these input statistics; None returns it unchanged."""
    return replace(network, info=replace(network.info, **statistics)) if statistics else network


def resolve(
    info: NetworkInfo, statistics: Statistics | None, keys: NetworkKeys, source: object
) -> Statistics | None:
    """Choose between the input statistics of the config and those stored with the weights.

    Args:
        info: Facts of the network as its config describes it.
        statistics: Statistics stored with the weights; None if the file stores none.
        keys: Keys set in the config. If one of ``KEYS`` is set and the statistics differ, the
            config wins over the weights and a warning is logged.
        source: The file of weights, for the log.

    Returns:
        The statistics that replace those of ``info``; None keeps those of ``info``.
    """
    own = of_info(info)
    if statistics is None or statistics == own:
        return None
    if any(getattr(keys, key) is not None for key in KEYS):
        LOG.warning(
            '%s: the weights were trained on %s, but the config sets %s; using the config',
            source,
            describe(statistics),
            describe(own),
        )
        return None
    LOG.info('%s: expects %s', source, describe(statistics))
    return statistics


def describe(statistics: Statistics) -> str:
    """Return statistics as text: ``RGB, mean 123.675, 116.28, ..., deviation 58.395, ...``."""
    mean, std = (', '.join(f'{v:g}' for v in statistics[key]) for key in ('mean', 'std'))
    return f'{statistics["channel_order"].upper()}, mean {mean}, deviation {std}'
