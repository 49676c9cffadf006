"""Patterns of names, such as those of parameters; ``*`` stands for anything."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from common.errors import UserError


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a name is like one of the patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def matching_parameters(key: str, pattern: str, names: Iterable[str]) -> list[str]:
    """Return the names of parameters that are like a pattern.

    Args:
        key: Under which a config has the pattern.
        pattern: What the names are like.
        names: All there are.

    Raises:
        UserError: There are none.
    """
    names = list(names)
    found = [name for name in names if matches(name, (pattern,))]
    if not found:
        some = ', '.join(names[:: max(1, len(names) // 3)][:3])
        raise UserError(f"{key}: '{pattern}' matches no parameter; there are {some}")
    return found
