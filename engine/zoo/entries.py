"""Collect the facts of the project's configs."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import models
from common import PROJECT
from datasets.keys import DataKeys
from engine.config import loading
from engine.config.config import Config
from engine.config.published_score import PublishedScore
from engine.inference.config_size import config_size
from engine.zoo.weights_status import WeightsStatus, find_status
from models import Network, complexity


@dataclass(frozen=True)
class ZooEntry:
    """A config, the cost of its network, its published score and its weights.

    Attributes:
        config: Name of the config, without the folder and ``.yaml``.
        network: Name of the network.
        data_set: Name of the data set.
        size: Height and width of the image for which the operations are counted.
        parameters: Number of trainable parameters.
        gmacs: 10^9 multiply-accumulates of the convolutions for one image.
        score: The published score; None if none was published.
        weights: Where the weights are.
    """

    config: str
    network: str
    data_set: str
    size: tuple[int, int]
    parameters: int
    gmacs: float
    score: PublishedScore | None
    weights: WeightsStatus


def config_files() -> list[Path]:
    """Return the config files of the project, sorted by name."""
    return sorted((PROJECT / 'configs').glob('*.yaml'))


def collect_entries(networks: Collection[str]) -> Iterator[ZooEntry]:
    """Yield the entries of the configs whose network has one of the given names."""
    for path in config_files():
        config = loading.load(path)
        network = models.create(config)
        name = _own_name(network)
        if not {name, network.name}.isdisjoint(networks):
            yield _entry(config, network, name)


def _entry(config: Config, network: Network, name: str) -> ZooEntry:
    size = config_size(config, network.info)
    macs, parameters = complexity.count_macs_and_parameters(network, size)
    data_set = DataKeys.of(config).dataset or ''
    return ZooEntry(
        config.name,
        name,
        data_set,
        size,
        parameters,
        macs / 1e9,
        config.published,
        find_status(config, name, network.info, data_set),
    )


def _own_name(network: Network) -> str:
    """Return the name of the variant with the hyper-parameters of a config.

    A config may spell out all hyper-parameters of a network that also has a name, as those of D3Net
    do.
    """
    variants = network.family.variants
    if variants[network.name]:
        return network.name
    named = (
        name
        for name, hyper in variants.items()
        if hyper and models.create(name).hyper == network.hyper
    )
    return next(named, network.name)
