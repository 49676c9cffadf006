"""Data sets by name. Each has a module that owns its classes and colours.

datasets.info('cityscapes').classes
"""

import difflib

from datasets import camvid, cityscapes
from datasets.info import DataError, Info, distinct_colours

__all__ = ['DataError', 'Info', 'distinct_colours', 'info', 'names']

MODULES = {'cityscapes': cityscapes, 'camvid': camvid}


def names() -> list[str]:
    """Every data set name."""
    return list(MODULES)


def info(name: str) -> Info:
    """Classes and colours of a data set; ``DataError`` with the nearest names when there is none of
    that name.
    """
    if name not in MODULES:
        nearest = difflib.get_close_matches(str(name), MODULES, n=3, cutoff=0.5) or list(MODULES)
        raise DataError(f'no data set is called {name!r}; the nearest are {", ".join(nearest)}')
    return MODULES[name].INFO
