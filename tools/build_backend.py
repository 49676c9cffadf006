"""Build nnseg with setuptools for ``pip install -e``; refuse every other installation.

The configs, the demo's network and the scripts belong to no package: they stay in the project's
folder, and the packages alone, copied into an environment, would not find them.
"""

import sys
from typing import Any, NoReturn

from setuptools import build_meta
from setuptools.build_meta import build_sdist

__all__ = ['build_editable', 'build_sdist', 'build_wheel']


def build_editable(
    wheel_directory: str,
    config_settings: dict[str, Any] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Build the wheel that appends the project's folder to ``sys.path``.

    Without ``compat`` it would hold a finder, which Python asks after ``sys.path``: a mere folder
    of data called ``datasets`` or ``models`` beside a script would hide the package of that name.
    """
    settings = {'editable_mode': 'compat', **(config_settings or {})}
    return build_meta.build_editable(wheel_directory, settings, metadata_directory)


def build_wheel(*arguments: object, **words: object) -> NoReturn:
    """Refuse to build a wheel of the packages alone."""
    sys.exit(
        'error: nnseg cannot be copied into an environment, as its configs and weights stay in its '
        'folder: clone or unpack it where it can stay, and type there: python -m pip install -e .'
    )
