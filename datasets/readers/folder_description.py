"""Read ``dataset.yaml``, the description of a user's own data."""

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import files
from common.class_maps import MAX_CLASSES
from common.errors import UserError
from common.reading import yaml_text
from common.reading.text_files import TextFileError
from common.terminal.short_repr import short_repr, short_text
from datasets.info import DataError, long_name, repeated_name

DESCRIPTION_FILE = 'dataset.yaml'
INDICES, COLOURS = 'indices', 'colours'
_DEFAULTS: dict[str, Any] = {
    'classes': None,
    'ignore': [],
    'images': 'images',
    'labels': 'labels',
    'label_suffix': '',
    'label_format': None,
}
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Description:
    """The content of ``dataset.yaml``.

    Attributes:
        classes: Names of the classes.
        colours: Their colours (red, green, blue); empty if there are none.
        ignored_values: Values of ignored pixels in label files of class indices.
        ignored_colours: Colours of ignored pixels.
        images: Folder of the images, relative to the root.
        labels: Folder of the label files, relative to the root.
        label_suffix: What follows the image's name in the name of its label file.
        label_format: ``indices`` or ``colours``; None to detect the format of each file.
    """

    classes: tuple[str, ...]
    colours: tuple[Colour, ...]
    ignored_values: frozenset[int]
    ignored_colours: frozenset[Colour]
    images: str
    labels: str
    label_suffix: str
    label_format: str | None


def read(root: Path) -> Description:
    """Return the description in a folder; raises ``DataError``."""
    path = root / DESCRIPTION_FILE
    content = _content(path)
    for key in ('images', 'labels', 'label_suffix'):
        if not isinstance(content[key], str):
            raise DataError(f'{path}: {key} must be text, not {short_repr(content[key])}')
    for key in ('images', 'labels'):
        _check_folder(content[key], key, path)
    if content['label_format'] not in (None, INDICES, COLOURS):
        raise DataError(
            f'{path}: label_format must be {INDICES} or {COLOURS}, '
            f'not {short_repr(content["label_format"])}'
        )
    names, colours = _classes(content['classes'], path)
    ignored_values, ignored_colours = _ignored(content['ignore'], path)
    for name, colour in zip(names, colours):
        if colour in ignored_colours:
            raise DataError(
                f'{path}: ignore and the class {name} have the same colour, {list(colour)}; '
                'remove one of them'
            )
    if content['label_format'] == COLOURS and not colours:
        raise DataError(
            f'{path}: label_format: colours needs the colours of the classes; write classes: '
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


def _check_folder(name: str, key: str, path: Path) -> None:
    """Raise ``DataError`` for a name that no folder can have, or for all files of the machine."""
    folder = path.parent / name
    try:
        kind = files.kind_of(folder)
    except UserError as error:
        raise DataError(f'{path}: {key}: {error}') from error
    if kind == 'folder' and os.path.realpath(folder) == os.sep:
        raise DataError(f'{path}: {key} is {name}, the root of all files; name a folder in it')


def _content(path: Path) -> dict[str, Any]:
    """Return keys and values of the file, completed with the defaults."""
    try:
        own = yaml_text.read(path, ['classes'])
    except TextFileError as error:
        raise DataError(str(error)) from error
    if not isinstance(own, dict):
        raise DataError(f'{path}: write "key: value" lines, at least for classes')
    for key in own:
        if key not in _DEFAULTS:
            name = short_text(key)
            nearest = difflib.get_close_matches(name, _DEFAULTS, n=1, cutoff=0)[0]
            raise DataError(f'{path}: unknown key {name}; the nearest is {nearest}')
    return _DEFAULTS | own


def _classes(classes: Any, path: Path) -> tuple[tuple[str, ...], tuple[Colour, ...]]:
    """Return names and colours of the classes; the colours may be empty."""
    usable = isinstance(classes, dict | list) and 1 <= len(classes) <= MAX_CLASSES
    if not usable or not all(isinstance(name, str) and name.strip() for name in classes):
        raise DataError(
            f'{path}: classes must be 1 to {MAX_CLASSES} different names, as a list or with '
            f'colours, not {short_repr(classes)}'
        )
    names = tuple(classes)
    long = long_name(names)
    if long is not None:
        raise DataError(
            f'{path}: the class {short_text(long)} has {len(long)} characters; shorten it'
        )
    repeated = repeated_name(names)
    if repeated is not None:
        raise DataError(
            f'{path}: classes must be 1 to {MAX_CLASSES} different names; {repeated} is there twice'
        )
    if isinstance(classes, list):
        return names, ()
    owners: dict[Colour, str] = {}
    for name, colour in classes.items():
        if not _is_colour(colour):
            raise DataError(
                f'{path}: the colour of {name} must be [red, green, blue], not {short_repr(colour)}'
            )
        other = owners.setdefault(tuple(colour), name)
        if other != name:
            raise DataError(
                f'{path}: two classes have the same colour, {colour}: {other} and {name}; '
                'give each its own'
            )
    return names, tuple(owners)


def _ignored(entries: Any, path: Path) -> tuple[frozenset[int], frozenset[Colour]]:
    """Return the values and the colours of ignored pixels."""
    if not isinstance(entries, list):
        raise DataError(f'{path}: ignore must be a list of values or colours')
    for entry in entries:
        if not _is_value(entry) and not _is_colour(entry):
            raise DataError(
                f'{path}: ignore has {short_repr(entry)}; write values 0..255 or colours '
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
