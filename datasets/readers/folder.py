"""Your own data: a folder of images, a folder of labels, and ``dataset.yaml`` beside them.

    classes: {road: [128, 64, 128], car: [0, 0, 142]}   # names and colours, or a list of names
    ignore: [254, [0, 0, 0]]       # values or colours of ignored pixels
    images: images                 # folders; these are the defaults
    labels: labels
    label_suffix: _L               # follows the image's name in label files; default: none
    label_format: colours          # or indices; default: detected for each file

``python -m datasets.prepare init`` writes such a file from images and masks, ``polygons`` from the
annotations of LabelMe, CVAT or COCO. Only ``classes`` is required. A label file is a PNG of class
indices, in the order of ``classes``, with 255 for ignored pixels, or of the classes' colours;
:mod:`datasets.readers.folder_decoder` says how the format is detected. Where all labels of a split
have no other values than 0 and 255, ``ignore`` must name 255, as it may be a class, unless another
split has 255 beside more classes; evaluate.py reads one split only. Images may lie in sub-folders;
a label has the path of its image, ``labels/a/b/x.png`` for ``images/a/b/x.jpg``. An image without a
label is not used, nor is a label without an image; training and evaluation log how many.

Splits are folders ``images/train``, ``labels/train`` and so on, or lists ``train.txt``, ``val.txt``
and ``test.txt`` in the root with the path of an image below ``images`` per line, with or without
its ending. Without either, all images form the split ``train``.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from datasets.dataset import NO_IMAGE, NO_LABEL, FoundSamples, Sample, UnusedFile
from datasets.info import DatasetInfo, distinct_colours
from datasets.readers import folder_description, layout, lists, trees
from datasets.readers.folder_decoder import Decoder
from datasets.readers.folder_description import DESCRIPTION_FILE, Description

SPLITS = ('train', 'val', 'test')
ANNOTATIONS = ('.json', '.xml')  # endings of files that masks are made from
# Masks of these formats are not read, but refused by name instead of taken for missing.
_NO_MASKS = (*(ending for ending in layout.IMAGES if ending not in layout.PNG), '.npy', '.mat')
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
    return DatasetInfo(
        'folder', names, description.colours or distinct_colours(len(names)), SPLITS, INFO.layout
    )


def decoder(root: Path) -> Decoder:
    """Return the decoder for the label files of a folder; raises ``DataError``."""
    return Decoder(folder_description.read(root))


def find(root: Path, split: str) -> FoundSamples:
    """Return the samples of a split; in the test split labels are optional."""
    description = folder_description.read(root)
    found = _files_of(root, description)
    list_files = {name: root / f'{name}.txt' for name in SPLITS}
    # Also a link to nothing, a pipe or a folder: reading it tells the fault.
    lists_there = [path for path in list_files.values() if os.path.lexists(path)]
    if any((root / description.images / name).is_dir() for name in SPLITS):
        ignored = [UnusedFile(path, 'folders define the splits') for path in lists_there]
        return _part(found, split).samples(split).with_unused(ignored)
    if lists_there:
        if list_files[split] not in lists_there:
            return FoundSamples(())
        left = lists.not_listed(found.samples(split), lists_there)
        listed = layout.select_listed(found.samples('test'), list_files[split])
        used = tuple(sample for sample in listed if split == 'test' or sample.label)
        return FoundSamples(used, found.samples(split).unused).with_unused(left)
    return found.samples(split) if split == 'train' else FoundSamples(())


def pairs(root: Path, description: Description) -> FoundSamples:
    """Return all pairs of an image and a label, whatever splits there are."""
    return _files_of(root, description).samples('train')


@dataclass(frozen=True)
class _Files:
    """Images and labels by name, and the files beside them that are neither, by name as well."""

    images: dict[str, Path]
    labels: dict[str, Path]
    others: tuple[tuple[str, UnusedFile], ...]

    def samples(self, split: str) -> FoundSamples:
        """Return the pairs, or in the test split a sample for each image."""
        left = [file for _, file in self.others]
        if split != 'test':
            left += trees.without(self.images, self.labels, NO_LABEL)
        left += trees.without(self.labels, self.images, NO_IMAGE)
        return FoundSamples(
            tuple(
                Sample(name, path, self.labels.get(name))
                for name, path in sorted(self.images.items())
                if split == 'test' or name in self.labels
            ),
            tuple(left),
        )


def _files_of(root: Path, description: Description) -> _Files:
    """Return all files of both folders; one can lie in the other, or be the other."""
    images, labels = root / description.images, root / description.labels
    pictures = trees.tree(images, layout.IMAGES, leave_out=labels)
    known = trees.tree(labels, layout.PNG, description.label_suffix, leave_out=images)
    wrong = trees.tree(labels, _NO_MASKS, description.label_suffix, leave_out=images).files
    named = {
        name: path
        for name, path in wrong.items()
        if pictures.files.get(name, path) != path and name not in known.files
    }
    masks = {*known.files.values(), *named.values()}
    photos = {name: path for name, path in pictures.files.items() if path not in masks}
    own = {root / name for name in (DESCRIPTION_FILE, *(f'{split}.txt' for split in SPLITS))}
    own |= masks | set(photos.values())
    others = [
        (file.path.relative_to(folder).as_posix(), file)
        for folder, found in ((images, pictures), (labels, known))
        for file in found.unused
        if file.path not in own and not _is_annotation(file.path, folder, photos)
    ]
    return _Files(photos, known.files | named, tuple(others))


def _is_annotation(path: Path, folder: Path, photos: dict[str, Path]) -> bool:
    """Return whether a file is the annotation of an image beside it, from which masks are made."""
    name = path.relative_to(folder).with_suffix('').as_posix()
    return path.suffix.lower() in ANNOTATIONS and name in photos


def _part(files: _Files, split: str) -> _Files:
    """Return the files in the folders of a split; those in the folder of no split are not used."""
    own, splits = f'{split}/', tuple(f'{name}/' for name in SPLITS)
    stray = [(name, path) for name, path in files.images.items() if not name.startswith(splits)]
    others = [
        *((name, file) for name, file in files.others if name.startswith(own)),
        *((name, file) for name, file in files.others if not name.startswith(splits)),
        *((name, UnusedFile(path, 'in the folder of no split')) for name, path in stray),
    ]
    images, labels = (
        {name[len(own) :]: path for name, path in found.items() if name.startswith(own)}
        for found in (files.images, files.labels)
    )
    return _Files(images, labels, tuple(others))
