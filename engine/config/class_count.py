"""Let num_classes follow the classes of a config, and explain numbers that contradict."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
from datasets.info import DatasetInfo
from engine.config.config import Config
from engine.runs.run_folder import RunFolder
from models.family import NetworkKeys

CLASSES, PALETTE, COUNT = 'classes', 'palette', 'num_classes'
NOUNS = {CLASSES: 'names', PALETTE: 'colours'}


def implied(
    layer: Mapping[str, Any], inherited: Mapping[str, Any], origins: Mapping[str, Path | str]
) -> dict[str, Any]:
    """Return the values that the classes, or the number of classes, of a layer imply.

    Args:
        layer: The unchecked values of one file, or of ``--set``.
        inherited: The values that the layer overrides.
        origins: Their files, by key.
    """
    return _follow_classes(layer, inherited) | _follow_count(layer, inherited, origins)


def _follow_classes(layer: Mapping[str, Any], inherited: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that the classes of a layer imply.

    A file or the options of ``--set`` that name classes say how many there are. An inherited
    ``num_classes`` or ``palette`` for another number does not apply to them.
    """
    classes, palette = layer.get(CLASSES), inherited.get(PALETTE)
    if not isinstance(classes, list):
        return {}
    values: dict[str, Any] = {}
    if COUNT not in layer and inherited.get(COUNT) not in (None, len(classes)):
        values[COUNT] = len(classes)
    if PALETTE not in layer and isinstance(palette, list) and len(palette) != len(classes):
        values[PALETTE] = None
    return values


def _follow_count(
    layer: Mapping[str, Any], inherited: Mapping[str, Any], origins: Mapping[str, Path | str]
) -> dict[str, Any]:
    """Return the values that the number of classes of a layer implies.

    A run writes names and colours into its config itself, so those of another number do not apply
    any more.
    """
    count = layer.get(COUNT)
    return {
        key: None
        for key in (CLASSES, PALETTE)
        if count is not None
        and key not in layer
        and isinstance(inherited.get(key), list)
        and len(inherited[key]) != count
        and _is_of_run(origins[key])
    }


def _is_of_run(origin: Path | str) -> bool:
    """Return whether a file is the effective config of a run."""
    return isinstance(origin, Path) and RunFolder.of_config(origin) is not None


def explain_contradiction(
    config: Config, key: str, count: int, known: DatasetInfo, root: object = None
) -> str:
    """Return the message about names or colours whose number is not the number of classes.

    Args:
        config: The config.
        key: ``classes`` or ``palette``.
        count: Number of classes of the network.
        known: Facts about the data set, which apply if the config does not set ``key``.
        root: Root of the data set, if it was read.
    """
    network = NetworkKeys.of(config).network
    of_count = config.origin(COUNT) if COUNT in config else f"the default of {network}"
    if key in config:
        entries, of_entries = len(config[key]), config.origin(key)
    else:
        from_root = getattr(known, key) != getattr(datasets.info(known.name), key)
        where = f' in {root}' if from_root else ''
        set_by = f', {config.origin("dataset")}' if 'dataset' in config else ''
        entries = len(getattr(known, key))
        of_entries = f'the data set {known.name}{where}{set_by}'
    remedy = f'set {COUNT} to {entries}, or list {count} {NOUNS[key]} under {key}'
    if key == PALETTE and key in config:
        remedy = f'list {count} colours, or set {PALETTE} to null, which makes them up'
    where = f'both {of_count}' if of_entries == of_count else of_count
    entries_from = '' if of_entries == of_count else f' ({of_entries})'
    return (
        f'{key}: {entries} {NOUNS[key]}{entries_from}, but {COUNT} is {count} ({where}); {remedy}'
    )
