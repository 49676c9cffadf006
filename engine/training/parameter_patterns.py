"""Patterns of parameter names, as configs give them; ``*`` stands for anything."""

from collections.abc import Iterable

from common.errors import UserError
from layers.build import matches


def matching(key: str, pattern: str, names: Iterable[str]) -> list[str]:
    """The names that are like the pattern, which a config has under ``key``.

    Raises ``UserError`` when there are none.
    """
    names = list(names)
    found = [name for name in names if matches(name, (pattern,))]
    if not found:
        some = ', '.join(names[:: max(1, len(names) // 3)][:3])
        raise UserError(f"{key}: '{pattern}' matches no parameter; there are {some}")
    return found
