"""Import the public names of a package on first use (PEP 562)."""

import importlib
from collections.abc import Callable, Mapping


def resolver(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """Return a ``__getattr__`` for a package.

    Args:
        package: The package's ``__name__``.
        homes: Public name -> the module that defines it.
    """

    def resolve(name: str) -> object:
        if name not in homes:
            raise AttributeError(f'module {package!r} has no attribute {name!r}')
        return getattr(importlib.import_module(homes[name]), name)

    return resolve
