"""How a network wants its input, and how weights say it: channel order, mean and deviation.

The same network may have been trained on different inputs. CSAIL's published weights are of two
kinds, which look the same: those of March 2018 to August 2019 take BGR, 0 to 255, less a mean and
undivided, those since then RGB with ImageNet's mean and deviation
(CSAILVision/semantic-segmentation-pytorch, dataset.py at 42bc6cb and at ac0019c). So files of
weights carry the statistics as attributes, which NNabla's and Sony's loaders do not read.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from common.log import LOG
from models.family import IMAGENET, NetworkInfo, NetworkKeys

if TYPE_CHECKING:
    from models.registry import Network

CSAIL_BGR = {
    'mean': (102.9801, 115.9465, 122.7717),
    'std': (1.0, 1.0, 1.0),
    'channel_order': 'bgr',
}
KNOWN = {'imagenet': IMAGENET, 'csail_bgr': CSAIL_BGR}  # by the names of --input-statistics
KEYS = ('mean', 'std', 'channel_order')  # of a config, and fields of NetworkInfo
PREFIX = 'input_'  # of the attributes
ORDERS = ('rgb', 'bgr')


def of_info(info: NetworkInfo) -> dict:
    """Return the statistics of a network's input."""
    return {key: getattr(info, key) for key in KEYS}


def attributes(statistics: Mapping) -> dict:
    """Return the attributes of a file of weights."""
    return {PREFIX + key: statistics[key] for key in KEYS}


def from_attributes(found: Mapping) -> dict | None:
    """Return the statistics that attributes say; None when they are not there, or not as
    :func:`attributes` makes them.
    """
    try:
        mean, std = (tuple(float(v) for v in found[PREFIX + key]) for key in ('mean', 'std'))
        order = str(found[PREFIX + 'channel_order'])
    except (KeyError, TypeError, ValueError):
        return None
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0 or order not in ORDERS:
        return None
    return {'mean': mean, 'std': std, 'channel_order': order}


def applied(network: 'Network', statistics: Mapping | None) -> 'Network':
    """Return the network with other statistics of its input; itself without any."""
    return replace(network, info=replace(network.info, **statistics)) if statistics else network


def chosen(
    info: NetworkInfo, statistics: Mapping[str, Any] | None, keys: NetworkKeys, source: object
) -> Mapping[str, Any] | None:
    """Choose between the statistics that a network has and those that its weights were trained on.

    Args:
        info: Facts of the network as its config describes it.
        statistics: What the weights say; None when they say nothing.
        keys: The config's own; one of ``KEYS`` among them wins over the weights, with a warning.
        source: The file of weights, for the log.

    Returns:
        The statistics that the network shall take instead of ``info``'s; None to keep these.
    """
    own = of_info(info)
    if statistics is None or statistics == own:
        return None
    if any(getattr(keys, key) is not None for key in KEYS):
        LOG.warning(
            '%s: trained on %s; the config says %s, and that is what is taken',
            source,
            described(statistics),
            described(own),
        )
        return None
    LOG.info('%s: takes %s', source, described(statistics))
    return statistics


def obeyed(
    network: 'Network', statistics: Mapping[str, Any] | None, config: Mapping[str, Any], source
) -> 'Network':
    """Return a network of a config with the statistics that :func:`chosen` decides on."""
    keys = NetworkKeys.of(config)
    return applied(network, chosen(network.info, statistics, keys, source))


def described(statistics: Mapping) -> str:
    """Describe statistics in a few words."""
    mean, std = (', '.join(f'{v:g}' for v in statistics[key]) for key in ('mean', 'std'))
    return f'{statistics["channel_order"].upper()}, mean {mean}, deviation {std}'
