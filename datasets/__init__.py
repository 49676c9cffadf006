"""Open data sets by name. The reader of a data set knows its classes, colours, files and splits.

    dataset = datasets.open('cityscapes', 'data/cityscapes', 'val')
    image, label = dataset.pair(0)      # uint8 BGR (H, W, 3); class indices (H, W), 255 ignored

    wanted = datasets.SceneFiles(inputs=2, tasks=('depth', 'segmentation'))
    dataset = datasets.open('folder', 'data/own', 'train', wanted=wanted)
    scene = dataset.scene(0)            # .pictures, .targets['depth'] in metres, 0 unknown

``datasets.register(reader)`` adds a reader of your own, a module or an object.
:mod:`datasets.readers.contract` lists its members; the modules beside it are examples.

The modules that read images are imported on first use, so that the config keys
(:mod:`datasets.keys`) can be imported without OpenCV.
"""

import os
from typing import TYPE_CHECKING

from common import lazy
from datasets.info import IGNORE, DataError, DatasetInfo, distinct_colours

if TYPE_CHECKING:
    from datasets.dataset import Dataset, Sample
    from datasets.registry import names, open, reader, register
    from datasets.samples import SceneFiles

__all__ = [
    'IGNORE',
    'DataError',
    'Dataset',
    'DatasetInfo',
    'Sample',
    'SceneFiles',
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
    'SceneFiles': 'datasets.samples',
    **dict.fromkeys(('names', 'open', 'reader', 'register'), 'datasets.registry'),
}
__getattr__ = lazy.resolver(__name__, _HOMES)


def info(name: str, root: str | os.PathLike[str] | None = None) -> DatasetInfo:
    """Return the classes and colours of a data set.

    Args:
        name: Name of the data set.
        root: Folder of the data set. The reader ``folder`` reads the classes from there; without a
            root it has none.

    Raises:
        DataError: The name is unknown, or the folder does not hold this data set.
    """
    from datasets import registry  # the module datasets.info would hide a name in _HOMES

    return registry.describe(name, root)
