"""What a conversion tells: what went where, and what a converted network says about a photo."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import nnabla as nn
import numpy as np
from numpy.typing import NDArray

from common import PROJECT, tables
from common.tables import Column
from models import convert
from models.convert.renaming import Fit
from models.errors import ModelError
from models.family import NetworkInfo
from models.registry import Network

PHOTO = 'resources/street.jpg'
SMALLEST_HEIGHT = 128  # of the photo, in pixels
MOST_GROUPS, DEEPEST = 25, 3  # rows of a short table, and parts of names in it
MOST_NAMES = 6


def table(
    found: Fit, arrays: Mapping[str, NDArray[np.float32]], paths: Sequence[Path], verbose: bool
) -> list[str]:
    """Lines that say which arrays of the files became which, by groups or ``verbose`` each; and
    what is left over.
    """
    own = convert.names(arrays)
    for depth in reversed(range(1, DEEPEST + 1)):
        groups: dict[tuple[int, str], list[tuple[str, NDArray[np.float32]]]] = {}
        for name, (number, key) in found.sources.items():
            parts = own[name].split('/')
            shown = parts if verbose else [*parts[: min(depth, len(parts) - 2)], '*']
            groups.setdefault((number, '/'.join(shown)), []).append((key, arrays[name]))
        if verbose or len(groups) <= MOST_GROUPS:
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
        ('left out, not of the network', [key for _, key, _ in found.extra]),
        ('left out, for other classes', [key for _, key in found.misshapen.values()]),
        ('not there, so not in the result', [*found.missing, *found.misshapen]),
    ):
        if names:
            some = names if verbose or len(names) <= MOST_NAMES else [*names[:MOST_NAMES], '...']
            lines.append(f'{what} ({len(names)}): {", ".join(some)}')
    return lines


def _shared(keys: Sequence[str]) -> str:
    if len(keys) == 1:
        return keys[0]
    return os.path.commonprefix(keys).rpartition('.')[0] + '.*'


def trial(network: Network) -> list[str]:
    """Segment a photo with the registered parameters, at about the smallest size that shows
    anything: lines with the range of the logits and the classes. Raises ``ModelError`` when they
    are not numbers.
    """
    x = _photo(network.info)
    logits = network(nn.Variable.from_numpy_array(x))[0]
    logits.forward(clear_buffer=True)
    values = logits.d[0]
    height, width = x.shape[2:]
    if not np.isfinite(values).all():
        raise ModelError(
            f'{PHOTO}, {height}x{width} pixels: the logits are not finite, so these are not '
            f'weights of {network.name}'
        )
    shares = np.bincount(values.argmax(0).ravel(), minlength=len(values)) / values[0].size
    seen = ', '.join(f'{i} ({shares[i]:.0%})' for i in np.argsort(-shares) if shares[i] > 0)
    return [
        f'{PHOTO}, {height}x{width} pixels: logits from {values.min():.4g} to {values.max():.4g}, '
        f'mean {values.mean():.4g}, standard deviation {values.std():.4g}',
        f'classes seen: {seen}',
    ]


def _photo(info: NetworkInfo) -> NDArray[np.float32]:
    """The photo as the network's input, (1, 3, H, W): normalised, in its channel order."""
    image = cv2.imread(str(PROJECT / PHOTO))
    if image is None:
        raise ModelError(f'{PROJECT / PHOTO}: the photo for --check cannot be read')
    divisor = info.size_divisor
    height = math.ceil(max(SMALLEST_HEIGHT, info.smallest_size) / divisor) * divisor
    width = round(height * image.shape[1] / image.shape[0] / divisor) * divisor
    image = cv2.resize(image, (max(width, height), height), interpolation=cv2.INTER_AREA)
    image = image[..., ::-1] if info.channel_order == 'rgb' else image
    mean, std = np.asarray(info.mean, np.float32), np.asarray(info.std, np.float32)
    normalised: NDArray[np.float32] = (image - mean) / std
    return normalised.transpose(2, 0, 1)[None]
