"""Data sets by name. Each has a reader that owns its classes, colours, files and splits.

    dataset = datasets.open('cityscapes', 'data/cityscapes', 'val')
    image, label = dataset.pair(0)      # uint8 BGR (H, W, 3); class indices (H, W), 255 ignored

``datasets.register(reader)`` adds one of your own, a module or an object; what it has stands in
:mod:`datasets.readers.contract`, and the modules beside that are examples.

What reads images is imported when it is first used, so that the keys of configs
(:mod:`datasets.keys`) are to be had without OpenCV.
"""

import os
from typing import TYPE_CHECKING

from common import lazy
from datasets.info import IGNORE, DataError, DatasetInfo, distinct_colours

if TYPE_CHECKING:
    from datasets.dataset import Dataset, Sample
    from datasets.registry import names, open, reader, register

__all__ = [
    'IGNORE',
    'DataError',
    'Dataset',
    'DatasetInfo',
    'Sample',
    'distinct_colours',
    'info',
    'names',
    'open',
    'reader',
    'register',
]
_HOMES = {
    'Dataset': 'datasets.dataset',
    'Sample': 'datasets.dataset',
    **dict.fromkeys(('names', 'open', 'reader', 'register'), 'datasets.registry'),
}
__getattr__ = lazy.resolver(__name__, _HOMES)


def info(name: str, root: str | os.PathLike[str] | None = None) -> DatasetInfo:
    """Return the classes and colours of a data set.

    Args:
        name: The data set.
        root: Where it is, which data of one's own needs; without it, such data has no classes here.

    Raises:
        DataError: There is no such data set, or none in its folder.
    """
    from datasets import registry  # not among _HOMES, where the module datasets.info would win

    return registry.describe(name, root)
