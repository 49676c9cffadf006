"""Your own data: a folder of images, a folder of labels, and ``dataset.yaml`` beside them.

    classes: {road: [128, 64, 128], car: [0, 0, 142]}   # names and colours, or a list of names
    ignore: [254, [0, 0, 0]]       # values or colours of ignored pixels
    images: images                 # folders; these are the defaults
    labels: labels
    label_suffix: _L               # follows the image's name in label files; default: none
    label_format: colours          # or indices; default: detected for each file

    tasks: {depth: {labels: depth}}   # targets of further tasks, see datasets.readers.folder_tasks
    input_folder: flow             # for inputs: 2, the first picture of each scene: optical flow,
    input_kind: flow               # or with input_kind: image another one, such as the frame before

``python -m datasets.prepare init`` writes such a file from images and masks, ``polygons`` from the
annotations of LabelMe, CVAT or COCO. Only ``classes`` is required, or else ``tasks``. A label file
is a PNG of class indices, in the order of ``classes``, with 255 for ignored pixels, or of the
classes' colours; :mod:`datasets.readers.folder_decoder` says how the format is detected. Where all
labels of a split have no other values than 0 and 255, ``ignore`` must name 255, as it may be a
class, unless another split has 255 beside more classes; evaluate.py reads one split only. Images
may lie in sub-folders; a label has the path of its image, ``labels/a/b/x.png`` for
``images/a/b/x.jpg``, and so have the targets of tasks and further pictures. An image without a
label, or without what the tasks and inputs need, is not used, nor is a label without an image;
training and evaluation log how many.

Splits are folders ``images/train``, ``labels/train`` and so on, or lists ``train.txt``, ``val.txt``
and ``test.txt`` in the root with the path of an image below ``images`` per line, with or without
its ending. Without either, all images form the split ``train``.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from datasets import depth_files
from datasets.info import DatasetInfo, TaskClasses, distinct_colours
from datasets.readers import folder_description, folder_files, layout, lists
from datasets.readers.folder_decoder import Decoder
from datasets.readers.folder_description import DESCRIPTION_FILE, Description
from datasets.readers.folder_files import SPLITS
from datasets.readers.folder_tasks import DepthFolder
from datasets.samples import FoundSamples, SceneFiles, UnusedFile

INPUT_FOLDER = 'flow'  # of the first of two pictures, unless dataset.yaml names another
INFO = DatasetInfo(
    'folder',
    (),
    (),
    splits=SPLITS,
    layout=f'{DESCRIPTION_FILE} with classes, images/ and labels/ (*.png) of equal names, with a '
    'folder per split or lists train.txt, val.txt, which python -m datasets.prepare split writes',
    source='datasets/readers/folder.py shows an example of the file.',
    marks=(DESCRIPTION_FILE,),
    unmarked=f'{DESCRIPTION_FILE} is missing in this folder',
    beginning='write it with python -m datasets.prepare init -d {root}, or with the names of the '
    'classes, such as "classes: [road, car]"',
)


def info(root: Path) -> DatasetInfo:
    """Return the facts about the data in a folder; raises ``DataError``."""
    description = folder_description.read(root)
    names = description.classes
    others = tuple(
        TaskClasses(task, found.classes, found.colours or distinct_colours(len(found.classes)))
        for task, found in description.tasks
        if isinstance(found, Description)
    )
    return DatasetInfo(
        'folder',
        names,
        description.colours or distinct_colours(len(names)),
        SPLITS,
        INFO.layout,
        others=others,
        depths=tuple(t for t, found in description.tasks if isinstance(found, DepthFolder)),
    )


def decoder(root: Path) -> Decoder:
    """Return the decoder for the label files of a folder; raises ``DataError``."""
    return Decoder(folder_description.read(root))


def find(root: Path, split: str) -> FoundSamples:
    """Return the samples of a split; in the test split labels are optional."""
    return find_scenes(root, split, SceneFiles())


def first_input(root: Path) -> tuple[str, str]:
    """Return folder and kind of the first of two pictures of each scene."""
    description = folder_description.read(root)
    return description.input_folder or INPUT_FOLDER, description.input_kind


def target_decoder(root: Path, task: str) -> Callable[[Path], np.ndarray]:
    """Return the function that reads the targets of a task other than segmentation."""
    found = dict(folder_description.read(root).tasks)[task]
    if isinstance(found, DepthFolder):
        return partial(depth_files.read, scale=found.scale)
    return Decoder(found)


def find_scenes(root: Path, split: str, wanted: SceneFiles) -> FoundSamples:
    """Return the samples of a split; in the test split all targets are optional."""
    description = folder_description.read(root)
    found = folder_files.files_of(root, description, wanted)
    list_files = {name: root / f'{name}.txt' for name in SPLITS}
    # Also a link to nothing, a pipe or a folder: reading it tells the fault.
    lists_there = [path for path in list_files.values() if os.path.lexists(path)]
    if any((root / description.images / name).is_dir() for name in SPLITS):
        ignored = [UnusedFile(path, 'folders define the splits') for path in lists_there]
        return found.part(split).samples(split).with_unused(ignored)
    if lists_there:
        if list_files[split] not in lists_there:
            return FoundSamples(())
        complete = found.samples(split)
        left = lists.not_listed(complete, lists_there)
        listed = layout.select_listed(found.every_image(), list_files[split])
        names = {sample.name for sample in complete}
        used = tuple(sample for sample in listed if sample.name in names)
        return FoundSamples(used, complete.unused).with_unused(left)
    return found.samples(split) if split == 'train' else FoundSamples(())


def pairs(root: Path, description: Description) -> FoundSamples:
    """Return all pairs of an image and a label, whatever splits there are."""
    return folder_files.files_of(root, description, SceneFiles()).samples('train')
