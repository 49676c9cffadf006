"""Values of keys that a config file, or the options of --set, imply without naming them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.config import class_count, task_classes

# Keys that decide how large the images of a training are, and those that follow from that size.
_SIZE_KEYS = ('dataset', 'base_size', 'resize_height', 'resize_width')
_TRAINED = ('trained_size', 'test_trained_area')
_SPLIT_KEYS = ('train_split', 'val_split')
_LISTS_OF_CLASSES = (class_count.CLASSES, class_count.PALETTE, 'class_weights')


def implied(
    layer: Mapping[str, Any], inherited: Mapping[str, Any], origins: Mapping[str, Path | str]
) -> dict[str, Any]:
    """Return the values that one layer of a config implies.

    Args:
        layer: The unchecked values of one file, or of ``--set``.
        inherited: The values that the layer overrides.
        origins: Their files, by key.
    """
    return (
        _follow_data_set(layer, inherited)
        | class_count.implied(layer, inherited, origins)
        | _follow_tasks(layer, inherited)
        | _follow_images(layer, inherited)
    )


def _follow_data_set(layer: Mapping[str, Any], inherited: Mapping[str, Any]) -> dict[str, Any]:
    """Return None for inherited keys about the data set that a layer replaces by another one.

    Names, colours and weights of as many classes as the layer's stay: the classes may be the same.
    """
    if not _differs('dataset', layer, inherited):
        return {}
    count = layer.get(class_count.COUNT, inherited.get(class_count.COUNT))
    lists = [key for key in _LISTS_OF_CLASSES if isinstance(inherited.get(key), list)]
    dropped = [key for key in lists if len(inherited[key]) != count]
    dropped += [key for key in _SPLIT_KEYS if key in inherited]
    return {key: None for key in dropped if key not in layer}


def _follow_tasks(layer: Mapping[str, Any], inherited: Mapping[str, Any]) -> dict[str, Any]:
    """Return None for inherited classes of tasks that a layer replaces by other tasks."""
    changed = any(_differs(key, layer, inherited) for key in ('tasks', 'task_channels'))
    return {task_classes.KEY: None} if changed and task_classes.KEY not in layer else {}


def _differs(key: str, layer: Mapping[str, Any], inherited: Mapping[str, Any]) -> bool:
    """Return whether a layer replaces an inherited value by another one."""
    return key in inherited and layer.get(key, inherited[key]) != inherited[key]


def _follow_images(layer: Mapping[str, Any], inherited: Mapping[str, Any]) -> dict[str, Any]:
    """Return None for inherited keys about images that are not those of the layer."""
    if not any(_differs(key, layer, inherited) for key in _SIZE_KEYS):
        return {}
    return {key: None for key in _TRAINED if key in inherited and key not in layer}
