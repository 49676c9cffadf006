"""Calibration images, on which the value ranges of an 8-bit network are determined."""

import glob
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np

from common import files
from common.errors import InputError, UserError
from common.glob_patterns import explain_no_match
from common.inputs import IMAGE_SUFFIXES
from common.tasks import PICTURE_CHANNELS
from datasets import image_files
from datasets.keys import DEFAULT_READING, DataKeys, ImageReading
from datasets.loading import transforms
from datasets.loading.resample import resize_image
from engine.backends.base import Shape
from engine.config.config import Config
from engine.config.data import open_dataset
from models import Network

MAX_IMAGES = 64  # more images hardly change the ranges


class Calibration:
    """A set of at most ``MAX_IMAGES`` image files, evenly spaced in the passed sequence.

    Args:
        network: The network whose normalisation applies.
        paths: Image files.
        source: Where the files come from, for reports.
        reading: Settings of the conversion of image files.
    """

    def __init__(
        self,
        network: Network,
        paths: Sequence[Path],
        source: str = 'files',
        reading: ImageReading = DEFAULT_READING,
    ):
        self._network, self._source, self._reading = network, source, reading
        step = max(1, len(paths) / MAX_IMAGES)
        self.paths = [paths[int(i * step)] for i in range(min(MAX_IMAGES, len(paths)))]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the contents of all files, and of the settings to read them.

        Raises:
            UserError: A file is unreadable.
        """
        digest = hashlib.sha256()
        if self._reading.conversion != DEFAULT_READING.conversion:
            digest.update(repr(self._reading.conversion).encode())
        for path in self.paths:
            try:
                digest.update(files.sha256_of(path).encode())
            except OSError as error:
                raise UserError(f'{path}: cannot be read ({error.strerror})') from error
        return digest.hexdigest()

    def describe(self) -> dict:
        """Return the entries of a report; raise ``UserError`` for an unreadable file."""
        return {'source': self._source, 'images': len(self.paths), 'sha256': self.digest}

    def inputs(
        self,
        shape: Shape,
        convert: 'Callable[[np.ndarray, Network, Shape], np.ndarray] | None' = None,
    ) -> 'CalibrationInputs':
        """Return the images as inputs of a shape.

        Args:
            shape: (N, 3, H, W).
            convert: Function from an image, (h, w, 3) uint8, BGR, to an input; None for
                :func:`as_input`.
        """
        return CalibrationInputs(
            self._network, self.paths, shape, self._reading, convert or as_input
        )


@dataclass(frozen=True)
class CalibrationInputs(Sequence[np.ndarray]):
    """A lazy sequence of image files as inputs of one shape.

    Each access reads the image file and raises ``UserError`` if that fails.
    """

    network: Network
    paths: Sequence[Path]
    shape: Shape
    reading: ImageReading
    convert: Callable[[np.ndarray, Network, Shape], np.ndarray]

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, index: slice) -> 'CalibrationInputs': ...

    def __getitem__(self, index: int | slice) -> 'np.ndarray | CalibrationInputs':
        if isinstance(index, slice):
            return replace(self, paths=self.paths[index])
        return self.convert(self.image(index), self.network, self.shape)

    def image(self, index: int) -> np.ndarray:
        """Read an image, (h, w, 3) uint8, BGR."""
        try:
            return image_files.read_image(self.paths[index], self.reading)
        except InputError as error:  # otherwise the image to segment would be blamed
            raise UserError(
                f'{error}; int8 is calibrated on it: repair or move it, or name other images '
                'with --calibration'
            ) from error


def as_input(image: np.ndarray, network: Network, shape: Shape) -> np.ndarray:
    """Resize an image as inference does, normalise it and repeat it to a network input.

    Args:
        image: (h, w, 3) uint8, BGR.
        network: The network whose normalisation applies.
        shape: (N, 3k, H, W) of the input; the image is repeated N times, and stands for each of
            the k pictures of a scene.
    """
    info, (height, width) = network.info, shape[2:]
    image = resize_image(image, (height, width))
    x = transforms.normalise(image, info.mean, info.std, info.channel_order)
    return np.tile(x, (shape[0], shape[1] // PICTURE_CHANNELS, 1, 1))


def find_images(
    network: Network,
    config: Config,
    source: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
) -> Calibration:
    """Find the calibration images.

    Args:
        network: The network to calibrate.
        config: Its config, which names the data set.
        source: A folder, searched recursively, or a glob pattern; None for the training images of
            the config's data set.
        data_dir: The data set's root; None for the one of the config.

    Raises:
        UserError: No image is found, the data set cannot be opened, or the network takes several
            pictures.
    """
    if network.info.inputs > 1:
        raise UserError(
            f'--precision int8: is calibrated on single pictures, but {network.name} takes '
            f'{network.info.inputs} pictures of a scene; leave the option out'
        )
    reading = ImageReading.of(config)
    if source is None:
        try:
            dataset = open_dataset(config, DataKeys.of(config).train_split, data_dir)
        except UserError as error:
            raise UserError(
                f'--precision int8 needs calibration images: {error}; or pass images with '
                '--calibration'
            ) from error
        source = f'{dataset.info.name} {dataset.split}'
        paths = [sample.image for sample in dataset.samples]
        return Calibration(network, paths, source, reading)
    return Calibration(network, listed(source), source, reading)


def listed(source: str) -> list[Path]:
    """Return the images in a folder, searched recursively, or the files of a glob pattern, sorted.

    Raises:
        UserError: There are none.
    """
    path = Path(os.path.expanduser(source))
    kind = files.kind_of(path)
    if kind == 'folder':
        found = [p for p in path.rglob('*') if p.suffix.lower() in IMAGE_SUFFIXES]
    elif kind == 'file':
        found = [path]
    else:
        found = [Path(p) for p in glob.glob(str(path), recursive=True) if os.path.isfile(p)]
    if not found:
        why = 'no image in this folder' if kind == 'folder' else explain_no_match(path)
        raise UserError(f'--calibration {source}: {why}')
    return sorted(found)
