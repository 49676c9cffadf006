"""Read ``dataset.yaml``, the description of a user's own data."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common import files
from common.class_maps import MAX_CLASSES
from common.errors import UserError
from common.reading import yaml_text
from common.reading.text_files import TextFileError
from common.tasks import DEPTH, kind_of
from common.terminal.short_repr import short_repr, short_text
from datasets.info import DataError, long_name, repeated_name
from datasets.keys import FLOW, IMAGE
from datasets.readers import folder_tasks
from datasets.readers.folder_tasks import DepthFolder

DESCRIPTION_FILE = 'dataset.yaml'
INDICES, COLOURS = 'indices', 'colours'
_LABEL_KEYS: dict[str, Any] = {
    'classes': None,
    'ignore': [],
    'labels': 'labels',
    'label_suffix': '',
    'label_format': None,
}
_OTHER_KEYS: dict[str, Any] = {
    'images': 'images',
    'tasks': {},
    'input_folder': None,
    'input_kind': FLOW,
}
_NAMES = ('classes', ('tasks', '*', 'classes'))  # keys whose values are names, taken as written
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Description:
    """The content of ``dataset.yaml``, or of a task with classes in it.

    Attributes:
        classes: Names of the classes; empty if there are other tasks only.
        colours: Their colours (red, green, blue); empty if there are none.
        ignored_values: Values of ignored pixels in label files of class indices.
        ignored_colours: Colours of ignored pixels.
        images: Folder of the images, relative to the root.
        labels: Folder of the label files, relative to the root.
        label_suffix: What follows the image's name in the name of its label file.
        label_format: ``indices`` or ``colours``; None to detect the format of each file.
        tasks: Names of further tasks, each with the description of its targets.
        input_folder: Folder of the first of two pictures of each scene, relative to the root; None
            if none is named.
        input_kind: ``flow`` or ``image``, what these pictures are.
    """

    classes: tuple[str, ...]
    colours: tuple[Colour, ...]
    ignored_values: frozenset[int]
    ignored_colours: frozenset[Colour]
    images: str
    labels: str
    label_suffix: str
    label_format: str | None
    tasks: 'tuple[tuple[str, Description | DepthFolder], ...]' = ()
    input_folder: str | None = None
    input_kind: str = FLOW


def read(root: Path) -> Description:
    """Return the description in a folder; raises ``DataError``."""
    path = root / DESCRIPTION_FILE
    content = _content(path)
    for key in ('images', 'input_folder'):
        if key == 'input_folder' and content[key] is None:
            continue
        if not isinstance(content[key], str):
            raise DataError(f'{path}: {key} must be text, not {short_repr(content[key])}')
        _check_folder(root, content[key], key, str(path))
    if content['input_kind'] not in (FLOW, IMAGE):
        raise DataError(
            f'{path}: input_kind must be {FLOW} or {IMAGE}, not {short_repr(content["input_kind"])}'
        )
    tasks = folder_tasks.entries(content['tasks'], path)
    described = tuple((task, _task(task, tasks[task], content['images'], path)) for task in tasks)
    return replace(
        _labels(content, root, str(path), optional=bool(tasks)),
        tasks=described,
        input_folder=content['input_folder'],
        input_kind=content['input_kind'],
    )


def _task(
    task: str, values: Mapping[str, Any], images: str, path: Path
) -> 'Description | DepthFolder':
    """Return the description of the targets of a task."""
    where = f'{path}, task {task}'
    if kind_of(task) == DEPTH:
        found = folder_tasks.depth_folder(values, where)
        _check_folder(path.parent, found.labels, 'labels', where)
        return found
    content = folder_tasks.complete(values, {**_LABEL_KEYS, 'labels': None}, where)
    return _labels({**content, 'images': images}, path.parent, where)


def _labels(
    content: Mapping[str, Any], root: Path, where: str, optional: bool = False
) -> Description:
    """Return the description of labels and their classes.

    Args:
        content: All keys of labels, and the folder of images.
        root: The folder of the data set.
        where: The file, and the task in it, for messages.
        optional: Whether there may be no classes.
    """
    for key in ('labels', 'label_suffix'):
        if not isinstance(content[key], str):
            raise DataError(f'{where}: {key} must be text, not {short_repr(content[key])}')
    _check_folder(root, content['labels'], 'labels', where)
    if content['label_format'] not in (None, INDICES, COLOURS):
        raise DataError(
            f'{where}: label_format must be {INDICES} or {COLOURS}, '
            f'not {short_repr(content["label_format"])}'
        )
    names: tuple[str, ...] = ()
    colours: tuple[Colour, ...] = ()
    if content['classes'] is not None or not optional:
        names, colours = _classes(content['classes'], where)
    ignored_values, ignored_colours = _ignored(content['ignore'], where)
    for name, colour in zip(names, colours):
        if colour in ignored_colours:
            raise DataError(
                f'{where}: ignore and the class {name} have the same colour, {list(colour)}; '
                'remove one of them'
            )
    if content['label_format'] == COLOURS and not colours:
        raise DataError(
            f'{where}: label_format: colours needs the colours of the classes; write classes: '
            '{name: [red, green, blue], ...}'
        )
    return Description(
        names,
        colours,
        ignored_values,
        ignored_colours,
        content['images'],
        content['labels'],
        content['label_suffix'],
        content['label_format'],
    )


def _check_folder(root: Path, name: str, key: str, where: str) -> None:
    """Raise ``DataError`` for a name that no folder can have, or for all files of the machine."""
    folder = root / name
    try:
        kind = files.kind_of(folder)
    except UserError as error:
        raise DataError(f'{where}: {key}: {error}') from error
    if kind == 'folder' and os.path.realpath(folder) == os.sep:
        raise DataError(f'{where}: {key} is {name}, the root of all files; name a folder in it')


def _content(path: Path) -> dict[str, Any]:
    """Return keys and values of the file, completed with the defaults."""
    try:
        own = yaml_text.read(path, _NAMES)
    except TextFileError as error:
        raise DataError(str(error)) from error
    if not isinstance(own, dict):
        raise DataError(f'{path}: write "key: value" lines, at least for classes')
    return folder_tasks.complete(own, _LABEL_KEYS | _OTHER_KEYS, str(path))


def _classes(classes: Any, where: str) -> tuple[tuple[str, ...], tuple[Colour, ...]]:
    """Return names and colours of the classes; the colours may be empty."""
    usable = isinstance(classes, dict | list) and 1 <= len(classes) <= MAX_CLASSES
    if not usable or not all(isinstance(name, str) and name.strip() for name in classes):
        raise DataError(
            f'{where}: classes must be 1 to {MAX_CLASSES} different names, as a list or with '
            f'colours, not {short_repr(classes)}'
        )
    names = tuple(classes)
    long = long_name(names)
    if long is not None:
        raise DataError(
            f'{where}: the class {short_text(long)} has {len(long)} characters; shorten it'
        )
    repeated = repeated_name(names)
    if repeated is not None:
        raise DataError(
            f'{where}: classes must be 1 to {MAX_CLASSES} different names; {repeated} is there '
            'twice'
        )
    if isinstance(classes, list):
        return names, ()
    owners: dict[Colour, str] = {}
    for name, colour in classes.items():
        if not _is_colour(colour):
            raise DataError(
                f'{where}: the colour of {name} must be [red, green, blue], not '
                f'{short_repr(colour)}'
            )
        other = owners.setdefault(tuple(colour), name)
        if other != name:
            raise DataError(
                f'{where}: two classes have the same colour, {colour}: {other} and {name}; '
                'give each its own'
            )
    return names, tuple(owners)


def _ignored(entries: Any, where: str) -> tuple[frozenset[int], frozenset[Colour]]:
    """Return the values and the colours of ignored pixels."""
    if not isinstance(entries, list):
        raise DataError(f'{where}: ignore must be a list of values or colours')
    for entry in entries:
        if not _is_value(entry) and not _is_colour(entry):
            raise DataError(
                f'{where}: ignore has {short_repr(entry)}; write values 0..255 or colours '
                '[red, green, blue]'
            )
    return (
        frozenset(entry for entry in entries if _is_value(entry)),
        frozenset(tuple(entry) for entry in entries if _is_colour(entry)),
    )


def _is_value(entry: Any) -> bool:
    return type(entry) is int and 0 <= entry <= 255


def _is_colour(entry: Any) -> bool:
    return isinstance(entry, list) and len(entry) == 3 and all(map(_is_value, entry))
