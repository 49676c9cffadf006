"""Build nnseg with setuptools for ``pip install -e``; refuse every other installation.

The configs, the demo's network and the scripts belong to no package: they stay in the project's
folder, and the packages alone, copied into an environment, would not find them.
"""

import sys
from typing import NoReturn

from setuptools.build_meta import build_editable, build_sdist, prepare_metadata_for_build_editable

__all__ = ['build_editable', 'build_sdist', 'build_wheel', 'prepare_metadata_for_build_editable']


def build_wheel(*arguments: object, **words: object) -> NoReturn:
    """Refuse to build a wheel of the packages alone."""
    sys.exit(
        'error: nnseg cannot be copied into an environment, as its configs and weights stay in its '
        'folder: clone or unpack it where it can stay, and type there: python -m pip install -e .'
    )
