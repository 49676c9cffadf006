"""What a score was computed from: facts for reports in JSON, and one line for the console."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.inference.test_time import Protocol

SHOWN_DIGITS = 12  # of a SHA-256, enough to tell files apart


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """The weights, the images and the computation behind a score.

    Attributes:
        weights: File of the weights, or words for weights that are in memory only.
        sha256: SHA-256 of the file; None for weights in memory.
        dataset: Name of the data set.
        data_dir: Folder of the data set.
        split: Name of the split.
        list_file: File that lists the images, if they are not all of the split.
        protocol: Views of an image that the network saw.
        backend: Names of the backends that computed the network.
        precision: Numbers that they computed in.
    """

    weights: Path | str
    sha256: str | None
    dataset: str
    data_dir: Path
    split: str
    list_file: str | None = None
    protocol: Protocol
    backend: str
    precision: str

    def facts(self) -> dict[str, Any]:
        """Return the attributes for JSON, with full paths."""
        weights = self.weights
        return {
            'weights': str(weights.absolute()) if isinstance(weights, Path) else weights,
            'sha256': self.sha256,
            'dataset': self.dataset,
            'data_dir': str(self.data_dir.absolute()),
            'split': self.split,
            'list': os.path.abspath(self.list_file) if self.list_file else None,
            'protocol': asdict(self.protocol),
            'backend': self.backend,
            'precision': self.precision,
        }

    def line(self, images: int) -> str:
        """Return the attributes, and the number of images, as one line."""
        digest = f' (sha256 {self.sha256[:SHOWN_DIGITS]})' if self.sha256 else ''
        images_of = f'{self.split} listed in {self.list_file}' if self.list_file else self.split
        return (
            f'{self.weights}{digest}, {self.dataset} {images_of}, {images} '
            f'image{"" if images == 1 else "s"}, {protocol_words(self.protocol.describe())}, '
            f'{self.backend} {self.precision}'
        )


def protocol_words(attributes: Mapping[str, Any]) -> str:
    """Return attributes of a protocol that are not its defaults as text."""
    words = (
        name.replace('_', ' ') + ('' if value is True else f' {_value_words(name, value)}')
        for name, value in attributes.items()
    )
    return ', '.join(words) or 'whole images'


def _value_words(name: str, value: Any) -> str:
    """Return HxW for a size, and numbers separated by commas for other tuples."""
    sign = 'x' if name in ('size', 'area_of', 'window', 'stride') else ','
    return sign.join(f'{part:g}' for part in value) if isinstance(value, tuple) else str(value)
