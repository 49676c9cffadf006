"""Inputs: valid files of a reader with damage that depends on a random seed and a number only."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from common.errors import UserError
from fuzz.mutators import generic
from fuzz.mutators.mutator import Mutator, pick

MAX_INPUT_BYTES = 4 << 20  # repeated damage must not grow without end
_GENERIC_SHARE, _ODD_NAME_SHARE = 0.5, 0.03
_MOST_GENERIC = 3  # pieces of generic damage in one input
ODD_NAMES = (
    b'line\nbreak',
    b'\x1b[2J\x1b]0;title\x07',
    b'not utf-8 \xff\xfe',
    b'-o',
    b'%s {0} $HOME ~',
    b'\xe2\x80\xae\xe2\x80\xa8right-to-left',
    b'a' * 200,
    b' ',
)


@dataclass(frozen=True)
class Content:
    """The files of an input.

    Attributes:
        files: Contents by path below the folder of the input.
        target: The file to damage, one of ``files``.
        opened: The path that the reader receives, below the folder; '' for the folder itself.
        is_right: Judges what the reader returns for the undamaged files.
        keeps_name: Whether the reader needs the target's name.
    """

    files: Mapping[str, bytes]
    target: str
    opened: str
    is_right: Callable[[Any], bool]
    keeps_name: bool = False


def one_file(name: str, data: bytes, is_right: Callable[[Any], bool]) -> Content:
    """Return the content of an input that is one file of any name."""
    return Content({name: data}, name, name, is_right)


@dataclass(frozen=True)
class Reader:
    """A reader of the project.

    Attributes:
        name: Its name on the command line.
        make: Returns valid contents, from random numbers.
        read: Receives the path of an input and returns its content: arrays and plain values.
        mutators: Kinds of damage that know the format.
        has_checksums: Whether a checksum covers the content, so that damage must not change it.
        parts: Splits what was read; each part must be one of the undamaged input's.
        declared_bytes: The memory that the declared size of an input allows; called only for an
            input that took more than the allowance.
        share: Share of the inputs, relative to other readers.
    """

    name: str
    make: Callable[[np.random.Generator], Sequence[Content]]
    read: Callable[[Path], Any]
    mutators: Sequence[Mutator] = ()
    has_checksums: bool = False
    parts: Callable[[Any], Sequence[Any]] = lambda value: [value]
    declared_bytes: Callable[[Path], int] = lambda path: 0
    share: int = 1


@dataclass(frozen=True)
class Input:
    """An input, ready to be read.

    Attributes:
        number: Its number; negative for an undamaged file.
        reader: The reader.
        origin: Index of the valid content that it was made from.
        content: Its files.
        mutations: Names of the kinds of damage.
        forged: Whether checksums were made anew.
    """

    number: int
    reader: Reader
    origin: int
    content: Content
    mutations: tuple[str, ...] = ()
    forged: bool = False

    def sha256(self) -> str:
        """Return the digest of the damaged file."""
        return hashlib.sha256(self.content.files[self.content.target]).hexdigest()


class Maker(Protocol):
    """Makes inputs from their numbers."""

    def make(self, number: int) -> Input:
        """Return the input of a number; negative ones are undamaged."""
        ...


class InputMaker:
    """Makes inputs for some readers.

    Args:
        readers: The readers to make inputs for; an attribute as well.
        seed: Random seed.
    """

    def __init__(self, readers: Sequence[Reader], seed: int):
        self.readers, self._seed = readers, seed

    @cached_property
    def contents(self) -> dict[str, Sequence[Content]]:
        """The valid contents by the reader's name."""
        return {
            reader.name: reader.make(np.random.default_rng(_entropy(reader.name)))
            for reader in self.readers
        }

    @cached_property
    def undamaged(self) -> list[Input]:
        """All valid contents as inputs, numbered -1, -2 and so on."""
        pairs = [
            (reader, origin) for reader in self.readers for origin in self._origins(reader.name)
        ]
        return [
            Input(-1 - i, reader, origin, self.contents[reader.name][origin])
            for i, (reader, origin) in enumerate(pairs)
        ]

    @cached_property
    def _cycle(self) -> list[tuple[Reader, int]]:
        """The readers in the order in which they take turns, with the turns that each had before.

        A reader has as many turns as its share, spread over the cycle.
        """
        turns = [
            ((turn + 0.5) / reader.share, place, turn)
            for place, reader in enumerate(self.readers)
            for turn in range(reader.share)
        ]
        return [(self.readers[place], turn) for _, place, turn in sorted(turns)]

    def make(self, number: int) -> Input:
        """Return the input of a number; negative ones are undamaged."""
        if number < 0:
            return self.undamaged[-1 - number]
        cycle, place = divmod(number, len(self._cycle))
        reader, turn = self._cycle[place]
        own_number = cycle * reader.share + turn  # the same whatever other readers there are
        rng = np.random.default_rng([self._seed, own_number, *_entropy(reader.name)])
        contents = self.contents[reader.name]
        origin = int(rng.integers(len(contents)))
        content = contents[origin]
        data, others = content.files[content.target], [c.files[c.target] for c in contents]
        aware = reader.mutators and rng.random() >= _GENERIC_SHARE
        chosen: list[Mutator] = (
            [pick(rng, reader.mutators)]
            if aware
            else [
                Mutator(pick(rng, generic.ALL))
                for _ in range(int(rng.integers(1, _MOST_GENERIC + 1)))
            ]
        )
        for mutator in chosen:
            data = mutator.change(rng, data, others)[:MAX_INPUT_BYTES]
        names = [mutator.name for mutator in chosen]
        content = replace(content, files={**content.files, content.target: data})
        if rng.random() < _ODD_NAME_SHARE and not content.keeps_name:
            content = _renamed(content, pick(rng, ODD_NAMES))
            names.append('odd_name')
        forged = any(mutator.keeps_checksums for mutator in chosen)
        return Input(number, reader, origin, content, tuple(names), forged)

    def _origins(self, name: str) -> range:
        return range(len(self.contents[name]))


def chosen_readers(readers: Sequence[Reader], names: Sequence[str]) -> list[Reader]:
    """Return the readers of these names, all of them for no name.

    Raises:
        UserError: A name is unknown.
    """
    known = {reader.name: reader for reader in readers}
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        raise UserError(f'--readers {unknown}: no such reader; choose from {", ".join(known)}')
    return [known[name] for name in dict.fromkeys(names)] if names else list(readers)


def _entropy(name: str) -> list[int]:
    """Return a name as numbers for a random seed."""
    return list(name.encode())


def _renamed(content: Content, name: bytes) -> Content:
    """Return the content with another name of its target, which keeps its suffix and folder."""
    old = Path(content.target)
    new = str(old.with_name(os.fsdecode(name) + old.suffix))
    files = {new if path == content.target else path: data for path, data in content.files.items()}
    opened = new if content.opened == content.target else content.opened
    return replace(content, files=files, target=new, opened=opened)
