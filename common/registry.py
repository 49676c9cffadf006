"""A registry of named parts, to which users can add their own."""

from collections.abc import Iterator, Mapping
from typing import TypeVar

from common.errors import UserError

Part = TypeVar('Part')


class Registry(Mapping[str, Part]):
    """A read-only mapping from name to part, in the order of registration.

    Args:
        kind: Noun of the parts with its article, for messages: ``a data set``.
    """

    def __init__(self, kind: str):
        self._kind = kind
        self._parts: dict[str, Part] = {}

    def add(self, name: str, part: Part) -> None:
        """Register a part.

        Args:
            name: A name that is not registered yet.
            part: The part.

        Raises:
            UserError: The name is already registered.
        """
        if name in self._parts:
            raise UserError(
                f'{self._kind} called {name} is registered already; give this one another name'
            )
        self._parts[name] = part

    def __getitem__(self, name: str) -> Part:
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)
