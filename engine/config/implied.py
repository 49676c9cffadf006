"""Values of keys that a config file, or the options of --set, imply without naming them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.config import class_count

# Keys that decide how large the images of a training are, and those that follow from that size.
_SIZE_KEYS = ('dataset', 'base_size', 'resize_height', 'resize_width')
_TRAINED = ('trained_size', 'test_trained_area')


def implied(
    layer: Mapping[str, Any], inherited: Mapping[str, Any], origins: Mapping[str, Path | str]
) -> dict[str, Any]:
    """Return the values that one layer of a config implies.

    Args:
        layer: The unchecked values of one file, or of ``--set``.
        inherited: The values that the layer overrides.
        origins: Their files, by key.
    """
    return class_count.implied(layer, inherited, origins) | _follow_images(layer, inherited)


def _follow_images(layer: Mapping[str, Any], inherited: Mapping[str, Any]) -> dict[str, Any]:
    """Return None for inherited keys about images that are not those of the layer."""
    if not any(
        key in inherited and layer.get(key, inherited[key]) != inherited[key] for key in _SIZE_KEYS
    ):
        return {}
    return {key: None for key in _TRAINED if key in inherited and key not in layer}
