"""Your own data: a folder of images, a folder of labels, and ``dataset.yaml`` beside them.

    classes: {road: [128, 64, 128], car: [0, 0, 142]}   # names and colours, or a list of names
    ignore: [254, [0, 0, 0]]       # values or colours of ignored pixels
    images: images                 # folders; these are the defaults
    labels: labels
    label_suffix: _L               # follows the image's name in label files; default: none
    label_format: colours          # or indices; default: detected for each file

Only ``classes`` is required. A label file is a PNG of class indices, in the order of ``classes``,
with 255 for ignored pixels, or of the classes' colours. Images may lie in sub-folders; a label has
the path of its image, ``labels/a/b/x.png`` for ``images/a/b/x.jpg``. An image without a label is
not used, nor is a label without an image; training and evaluation log how many.

Splits are folders ``images/train``, ``labels/train`` and so on, or lists ``train.txt``, ``val.txt``
and ``test.txt`` in the root with the path of an image below ``images`` per line, with or without
its ending. Without either, all images form the split ``train``.
"""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from common.class_maps import MAX_CLASSES
from common.files import read_text
from datasets.dataset import NO_IMAGE, NO_LABEL, FoundSamples, Sample, UnusedFile
from datasets.info import IGNORE, DataError, DatasetInfo, distinct_colours
from datasets.readers import label_files, layout, lists, trees

DESCRIPTION_FILE = 'dataset.yaml'
SPLITS = ('train', 'val', 'test')
INFO = DatasetInfo(
    'folder',
    (),
    (),
    splits=SPLITS,
    layout=f'{DESCRIPTION_FILE} with classes, images/ and labels/ (*.png) of equal names, with a '
    'folder per split or lists train.txt, val.txt',
    source='datasets/readers/folder.py shows an example of the file.',
    marks=(DESCRIPTION_FILE,),
    unmarked=f'{DESCRIPTION_FILE} is missing in this folder; write it with the names of the '
    'classes, such as "classes: [road, car]"',
)
INDICES, COLOURS = 'indices', 'colours'
_DEFAULTS: dict[str, Any] = {
    'classes': None,
    'ignore': [],
    'images': 'images',
    'labels': 'labels',
    'label_suffix': '',
    'label_format': None,
}


@dataclass(frozen=True)
class Decoder:
    """A decoder of label files: returns class indices, (H, W) uint8, with 255 for ignored pixels.

    Attributes:
        values: Class indices by file value.
        colours: Class indices by colour (red, green, blue).
        label_format: ``indices`` or ``colours``; None to detect the format of each file.
    """

    values: dict[int, int]
    colours: dict[tuple[int, int, int], int]
    label_format: str | None

    def __call__(self, path: Path) -> np.ndarray:
        """Return the class indices of a label file; raises ``InputError`` or ``DataError``."""
        as_colours = self.label_format == COLOURS or (
            self.label_format is None and label_files.is_colour(path)
        )
        if as_colours:
            if not self.colours:
                raise DataError(
                    f'{path}: a colour image, but {DESCRIPTION_FILE} defines no class colours; '
                    'write classes: {name: [red, green, blue], ...}'
                )
            return label_files.indices_of_colours(
                label_files.read_colours(path), self.colours, path
            )
        palette = [colour for colour, index in self.colours.items() if index != IGNORE]
        values = label_files.read_indices(path, palette)
        return label_files.translate(values, label_files.values_table(self.values), path)


def info(root: Path) -> DatasetInfo:
    """Return the facts about the data in a folder; raises ``DataError``."""
    description = _read_description(root)
    names, colours = _classes(description, root / DESCRIPTION_FILE)
    return DatasetInfo(
        'folder', names, colours or distinct_colours(len(names)), SPLITS, INFO.layout
    )


def decoder(root: Path) -> Decoder:
    """Return the decoder for the label files of a folder; raises ``DataError``."""
    description = _read_description(root)
    names, colours = _classes(description, root / DESCRIPTION_FILE)
    values = {index: index for index in range(len(names))} | {IGNORE: IGNORE}
    meanings = {colour: index for index, colour in enumerate(colours)}
    for entry in description['ignore']:
        if _is_value(entry):
            values[entry] = IGNORE
        elif _is_colour(entry):
            if meanings:
                meanings[tuple(entry)] = IGNORE
        else:
            raise DataError(
                f'{root / DESCRIPTION_FILE}: ignore has {entry!r}; write values 0..255 or colours '
                '[red, green, blue]'
            )
    return Decoder(values, meanings, description['label_format'])


def find(root: Path, split: str) -> FoundSamples:
    """Return the samples of a split; in the test split labels are optional."""
    description = _read_description(root)
    found = _files_of(root, description)
    list_files = {name: root / f'{name}.txt' for name in SPLITS}
    lists_there = [path for path in list_files.values() if path.is_file()]
    if any((root / description['images'] / name).is_dir() for name in SPLITS):
        ignored = [UnusedFile(path, 'folders define the splits') for path in lists_there]
        return _part(found, split).samples(split).with_unused(ignored)
    if lists_there:
        if list_files[split] not in lists_there:
            return FoundSamples(())
        samples = found.samples(split)
        left = lists.not_listed(samples, lists_there)
        return layout.select_listed(samples, list_files[split]).with_unused(left)
    return found.samples(split) if split == 'train' else FoundSamples(())


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


def _files_of(root: Path, description: dict) -> _Files:
    """Return all files of both folders; one can lie in the other, or be the other."""
    images, labels = root / description['images'], root / description['labels']
    pictures = trees.tree(images, layout.IMAGES, leave_out=labels)
    known = trees.tree(labels, layout.PNG, description['label_suffix'], leave_out=images)
    masks = set(known.files.values())
    photos = {name: path for name, path in pictures.files.items() if path not in masks}
    own = {root / name for name in (DESCRIPTION_FILE, *(f'{split}.txt' for split in SPLITS))}
    own |= masks | set(photos.values())
    others = [
        (file.path.relative_to(folder).as_posix(), file)
        for folder, found in ((images, pictures), (labels, known))
        for file in found.unused
        if file.path not in own
    ]
    return _Files(photos, known.files, tuple(others))


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


def _read_description(root: Path) -> dict:
    """Return the content of ``dataset.yaml``, completed with the defaults."""
    path = root / DESCRIPTION_FILE
    try:
        own = yaml.safe_load(read_text(path))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f'{path}: cannot be read ({error})') from error
    if not isinstance(own, dict):
        raise DataError(f'{path}: write "key: value" lines, at least for classes')
    for key in own:
        if key not in _DEFAULTS:
            nearest = difflib.get_close_matches(str(key), _DEFAULTS, n=1, cutoff=0)[0]
            raise DataError(f'{path}: unknown key {key}; the nearest is {nearest}')
    description = _DEFAULTS | own
    for key in ('images', 'labels', 'label_suffix'):
        if not isinstance(description[key], str):
            raise DataError(f'{path}: {key} must be text, not {description[key]!r}')
    if description['label_format'] not in (None, INDICES, COLOURS):
        raise DataError(
            f'{path}: label_format must be {INDICES} or {COLOURS}, '
            f'not {description["label_format"]!r}'
        )
    if not isinstance(description['ignore'], list):
        raise DataError(f'{path}: ignore must be a list of values or colours')
    return description


def _classes(description: dict, path: Path) -> tuple[tuple[str, ...], tuple]:
    """Return names and colours of the classes; the colours may be empty."""
    classes = description['classes']
    usable = isinstance(classes, dict | list) and 1 <= len(classes) <= MAX_CLASSES
    if not usable or len(set(map(str, classes))) < len(classes):
        raise DataError(
            f'{path}: classes must be 1 to {MAX_CLASSES} different names, as a list or with '
            f'colours, not {classes!r}'
        )
    names = tuple(map(str, classes))
    if isinstance(classes, list):
        return names, ()
    for name, colour in classes.items():
        if not _is_colour(colour):
            raise DataError(
                f'{path}: the colour of {name} must be [red, green, blue], not {colour!r}'
            )
    colours = tuple(map(tuple, classes.values()))
    if len(set(colours)) < len(colours):
        raise DataError(f'{path}: two classes have the same colour')
    return names, colours


def _is_value(entry) -> bool:
    return type(entry) is int and 0 <= entry <= 255


def _is_colour(entry) -> bool:
    return isinstance(entry, list) and len(entry) == 3 and all(map(_is_value, entry))
