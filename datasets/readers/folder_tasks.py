"""The targets of further tasks in ``dataset.yaml``: depth, and other classes than those of labels.

    tasks:
      depth: {labels: depth, scale: 256}      # 16-bit PNG: metres x 256, 0 where unknown
      motion: {labels: motion, label_suffix: _m, classes: [static, moving], ignore: [128]}

The keys of a task with classes have the meaning that they have outside of ``tasks``, as have those
of depth, except for ``scale``, the values of a metre.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.reading.json_text import is_number
from common.sections import SectionError
from common.tasks import SEGMENTATION, TaskKeys
from common.terminal.short_repr import short_repr, short_text
from datasets.depth_files import MAX_SCALE, MIN_SCALE, SCALE
from datasets.info import DataError

DEPTH_KEYS: dict[str, Any] = {'labels': None, 'label_suffix': '', 'scale': SCALE}


@dataclass(frozen=True)
class DepthFolder:
    """Where the depth maps of a task are.

    Attributes:
        labels: Their folder, relative to the root.
        label_suffix: What follows the image's name in the name of its depth map.
        scale: Values of a metre.
    """

    labels: str
    label_suffix: str
    scale: float


def entries(content: Any, path: Path) -> dict[str, dict[str, Any]]:
    """Return the values of each task, of which only the names are checked; raises ``DataError``."""
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(values, dict) for name, values in content.items()
    ):
        raise DataError(
            f'{path}: tasks must have a line for each task, such as depth: {{labels: depth}}, not '
            f'{short_repr(content)}'
        )
    if SEGMENTATION in content:
        raise DataError(
            f'{path}: tasks: {SEGMENTATION} is the task of classes and labels outside of tasks; '
            'remove it here'
        )
    try:
        TaskKeys(tasks=tuple(content))
    except SectionError as error:
        raise DataError(f'{path}: {error}') from error
    return content


def complete(values: Mapping[str, Any], defaults: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return keys and values with the defaults; raise ``DataError`` for an unknown key.

    Args:
        values: The keys that are written.
        defaults: All keys with their defaults.
        where: The file, and the task in it, for messages.
    """
    for key in values:
        if key not in defaults:
            name = short_text(key)
            nearest = difflib.get_close_matches(name, defaults, n=1, cutoff=0)[0]
            raise DataError(f'{where}: unknown key {name}; the nearest is {nearest}')
    return {**defaults, **values}


def depth_folder(values: Mapping[str, Any], where: str) -> DepthFolder:
    """Return the description of depth maps, whose folder is to be checked; raises ``DataError``."""
    content = complete(values, DEPTH_KEYS, where)
    for key in ('labels', 'label_suffix'):
        if not isinstance(content[key], str):
            raise DataError(f'{where}: {key} must be text, not {short_repr(content[key])}')
    scale = content['scale']
    if not is_number(scale) or not MIN_SCALE <= scale <= MAX_SCALE:
        raise DataError(
            f'{where}: scale is the values of a metre, {MIN_SCALE} to {MAX_SCALE}, such as 256, '
            f'or 1000 for millimetres, not {short_repr(scale)}'
        )
    return DepthFolder(content['labels'], content['label_suffix'], float(scale))
