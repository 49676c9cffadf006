"""Report a conversion: a table of the converted arrays, and a check of the network on a photo."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import nnabla as nn
import numpy as np
from numpy.typing import NDArray

from common import PROJECT
from common.tasks import DEPTH, Task
from common.terminal import tables
from common.terminal.name_list import first_names
from common.terminal.tables import Column
from models import convert
from models.convert.matching import StateMatch
from models.errors import ModelError
from models.family import NetworkInfo
from models.registry import Network
from models.structure import SINGLE

PHOTO = 'resources/street.jpg'
MIN_PHOTO_HEIGHT = 128  # pixels
MAX_TABLE_ROWS = 25  # unless --verbose
MAX_GROUP_DEPTH = 3  # parts of a name by which the rows of the table are grouped
MAX_LISTED_NAMES = 6  # unless --verbose


def conversion_table(
    found: StateMatch,
    arrays: Mapping[str, NDArray[np.float32]],
    paths: Sequence[Path],
    verbose: bool,
) -> list[str]:
    """Format a table of the converted arrays, followed by the skipped and the missing ones.

    Args:
        found: The match of the files with the network.
        arrays: Converted arrays by the reference's names.
        paths: The files, in the order of ``found``.
        verbose: List every array instead of groups of them.

    Returns:
        The lines of the report.
    """
    own = convert.names(arrays)
    for depth in reversed(range(1, MAX_GROUP_DEPTH + 1)):
        groups: dict[tuple[int, str], list[tuple[str, NDArray[np.float32]]]] = {}
        for name, (number, key) in found.sources.items():
            parts = own[name].split('/')
            shown = parts if verbose else [*parts[: min(depth, len(parts) - 2)], '*']
            groups.setdefault((number, '/'.join(shown)), []).append((key, arrays[name]))
        if verbose or len(groups) <= MAX_TABLE_ROWS:
            break
    rows = []
    for (number, group), members in groups.items():
        keys, values = zip(*members)
        of = 'x'.join(map(str, values[0].shape))
        if not verbose:
            of = f'{len(keys)} arrays, {sum(value.size for value in values):,} numbers'
        rows.append((paths[number].name, keys[0] if verbose else _shared(keys), group, of))
    lines = tables.lines([Column(), Column(), Column(before=' -> '), Column()], rows)
    for what, names in (
        ('skipped, not in the network', [key for _, key, _ in found.extra]),
        ('skipped, for another number of classes', [k for _, k in found.wrong_shape.values()]),
        ('missing in the output', [*found.missing, *found.wrong_shape]),
    ):
        if names:
            some = first_names(names, len(names) if verbose else MAX_LISTED_NAMES)
            lines.append(f'{what} ({len(names)}): {some}')
    return lines


def _shared(keys: Sequence[str]) -> str:
    """Return a single key, or the common module path of several with ``.*``."""
    if len(keys) == 1:
        return keys[0]
    return os.path.commonprefix(keys).rpartition('.')[0] + '.*'


def check_on_photo(network: Network) -> list[str]:
    """Segment a small photo with the registered parameters.

    The photo has about the smallest size at which a result is recognisable.

    Args:
        network: The network whose parameters are registered.

    Returns:
        Lines with the range of the logits and the predicted classes, for each task.

    Raises:
        ModelError: The logits are not finite, or the photo cannot be read.
    """
    x = _photo(network.info)
    outputs = network(nn.Variable.from_numpy_array(x))
    nn.forward_all(outputs, clear_buffer=True)
    height, width = x.shape[2:]
    where = f'{PHOTO}, {height}x{width} pixels'
    lines: list[str] = []
    for task, output in zip(network.info.tasks, outputs):
        lines += _describe_output(network, task, output.d[0], where)
    return lines


def _describe_output(
    network: Network, task: Task, values: NDArray[np.float32], where: str
) -> list[str]:
    """Return lines with the range of a task's output and its predicted classes.

    Args:
        network: The network.
        task: The task.
        values: Its output, (channels, h, w).
        where: The photo and its size.

    Raises:
        ModelError: Values are not finite.
    """
    if not np.isfinite(values).all():
        raise ModelError(
            f'{where}: the logits are not finite; these are not weights of {network.name}'
        )
    name = f'{task.name}, ' if network.info.structure != SINGLE else ''
    what, unit = ('depth', ' m') if task.kind == DEPTH else ('logits', '')
    lines = [
        f'{where}: {name}{what} from {values.min():.4g} to {values.max():.4g}{unit}, mean '
        f'{values.mean():.4g}, standard deviation {values.std():.4g}'
    ]
    if task.kind == DEPTH:
        return lines
    shares = np.bincount(values.argmax(0).ravel(), minlength=len(values)) / values[0].size
    seen = ', '.join(f'{i} ({shares[i]:.0%})' for i in np.argsort(-shares) if shares[i] > 0)
    return [*lines, f'predicted classes: {seen}']


def _photo(info: NetworkInfo) -> NDArray[np.float32]:
    """Return the photo as input of a network: (1, 3, H, W) float32, normalised.

    With several inputs, it is every picture of the scene: (1, 3 * inputs, H, W).
    """
    image = cv2.imread(str(PROJECT / PHOTO))
    if image is None:
        raise ModelError(f'{PROJECT / PHOTO}: cannot be read, but --check needs this photo')
    divisor = info.size_divisor
    height = math.ceil(max(MIN_PHOTO_HEIGHT, info.smallest_size) / divisor) * divisor
    width = round(height * image.shape[1] / image.shape[0] / divisor) * divisor
    image = cv2.resize(image, (max(width, height), height), interpolation=cv2.INTER_AREA)
    image = image[..., ::-1] if info.channel_order == 'rgb' else image
    mean, std = np.asarray(info.mean, np.float32), np.asarray(info.std, np.float32)
    normalised: NDArray[np.float32] = (image - mean) / std
    return np.concatenate([normalised.transpose(2, 0, 1)[None]] * info.inputs, axis=1)
