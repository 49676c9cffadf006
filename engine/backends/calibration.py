"""The images that an 8-bit network's ranges are found on."""

import glob
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import overload

import cv2
import numpy as np

from common import files
from common.errors import UserError
from common.inputs import IMAGE_SUFFIXES
from datasets import image_files
from datasets.keys import DataKeys
from datasets.loading import transforms
from engine.backends.base import Shape
from engine.config.data import open_dataset
from engine.config.loading import Config
from models import Network

MOST = 64  # images; more change the ranges little


class Calibration:
    """Up to ``MOST`` of the image files ``paths``, at even distances. source: where they are from,
    for reports.
    """

    def __init__(self, network: Network, paths: Sequence[Path], source: str = 'files'):
        self._network, self._source = network, source
        step = max(1, len(paths) / MOST)
        self.paths = [paths[int(i * step)] for i in range(min(MOST, len(paths)))]

    @cached_property
    def digest(self) -> str:
        """Changes with the content of any of the files; raises ``UserError``."""
        digest = hashlib.sha256()
        for path in self.paths:
            try:
                digest.update(files.sha256_of(path).encode())
            except OSError as error:
                raise UserError(f'{path}: cannot be read ({error.strerror})') from error
        return digest.hexdigest()

    def describe(self) -> dict:
        """What a report says; raises ``UserError``."""
        return {'source': self._source, 'images': len(self.paths), 'sha256': self.digest}

    def inputs(self, shape: Shape) -> 'Inputs':
        """The images as inputs of a shape."""
        return Inputs(self._network, self.paths, shape)


@dataclass(frozen=True)
class Inputs(Sequence[np.ndarray]):
    """Image files as a network's inputs of a shape, each read when it is asked for; raises
    ``InputError`` then.
    """

    network: Network
    paths: Sequence[Path]
    shape: Shape

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, index: slice) -> 'Inputs': ...

    def __getitem__(self, index: int | slice) -> 'np.ndarray | Inputs':
        if isinstance(index, slice):
            return Inputs(self.network, self.paths[index], self.shape)
        return as_input(image_files.read_image(self.paths[index]), self.network, self.shape)


def as_input(image: np.ndarray, network: Network, shape: Shape) -> np.ndarray:
    """An image, uint8 BGR, as an input of ``shape``: as many times as there are images in it."""
    image = cv2.resize(image, (shape[3], shape[2]), interpolation=cv2.INTER_AREA)
    info = network.info
    x = transforms.normalise(image, info.mean, info.std, info.channel_order)
    return np.repeat(x[None], shape[0], axis=0)


def find(
    network: Network, config: Config, source: str | None = None, data_dir: str | None = None
) -> Calibration:
    """The images of a folder or a pattern, by default the config's training images.

    Raises ``UserError`` when there are none.
    """
    if source is None:
        try:
            dataset = open_dataset(config, DataKeys.of(config).train_split, data_dir)
        except UserError as error:
            raise UserError(
                f'--precision int8 needs images to find ranges on: {error}; or name some with '
                '--calibration'
            ) from error
        source = f'{dataset.info.name} {dataset.split}'
        return Calibration(network, [sample.image for sample in dataset.samples], source)
    path = Path(os.path.expanduser(source))
    if files.kind_of(path) == 'folder':
        found = [p for p in path.rglob('*') if p.suffix.lower() in IMAGE_SUFFIXES]
    else:
        found = [Path(p) for p in glob.glob(str(path), recursive=True) if os.path.isfile(p)]
    if not found:
        raise UserError(f'--calibration {source}: no image there')
    return Calibration(network, sorted(found), source)
