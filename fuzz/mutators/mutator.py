"""A kind of damage, and a random choice."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

T = TypeVar('T')


@dataclass(frozen=True)
class Mutator:
    """A kind of damage that knows the format.

    Attributes:
        change: Receives random numbers, the content and the contents of other valid files.
        keeps_checksums: Whether checksums are made anew, so that other content is legitimate.
    """

    change: Callable[[np.random.Generator, bytes, Sequence[bytes]], bytes]
    keeps_checksums: bool = False

    @property
    def name(self) -> str:
        """Name of the function."""
        return self.change.__name__


def pick(rng: np.random.Generator, choices: Sequence[T]) -> T:
    """Return one of some values."""
    return choices[int(rng.integers(len(choices)))]
