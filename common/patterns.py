"""Match names, such as those of parameters, against patterns in which ``*`` is a wildcard."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from common.errors import UserError


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a name matches at least one of the patterns."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def matching_parameters(key: str, pattern: str, names: Iterable[str]) -> list[str]:
    """Return the parameter names that match a pattern.

    Args:
        key: Config key that holds the pattern, for the error message.
        pattern: A pattern with ``*`` as wildcard.
        names: All parameter names of the network.

    Raises:
        UserError: No name matches.
    """
    names = list(names)
    found = [name for name in names if matches(name, (pattern,))]
    if not found:
        some = ', '.join(names[:: max(1, len(names) // 3)][:3])
        raise UserError(f"{key}: '{pattern}' matches no parameter; there are {some}")
    return found
