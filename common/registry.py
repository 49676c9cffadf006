"""Tables of parts by name, which users may add their own to."""

from collections.abc import Iterator, Mapping
from typing import TypeVar

from common.errors import UserError

Part = TypeVar('Part')


class Registry(Mapping[str, Part]):
    """Parts of one kind by name, in the order in which they were added.

    Args:
        kind: What they are, with its article: ``a data set``.
    """

    def __init__(self, kind: str):
        self._kind = kind
        self._parts: dict[str, Part] = {}

    def add(self, name: str, part: Part) -> None:
        """Add a part.

        Raises:
            UserError: Another one has the name.
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
