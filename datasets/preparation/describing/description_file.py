"""Write ``dataset.yaml``, with comments that say what is to be filled in."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common import files
from common.errors import UserError
from common.terminal.printable import one_line
from common.terminal.short_repr import short_repr, short_text
from datasets.info import IGNORE, MAX_NAME_CHARACTERS, long_name, repeated_name
from datasets.mask_advice import quoted
from datasets.preparation.describing.folders import Folders
from datasets.readers.folder_description import DESCRIPTION_FILE, Colour


@dataclass(frozen=True)
class ClassLine:
    """A class in ``dataset.yaml``.

    Attributes:
        name: Its name.
        colour: Its colour (red, green, blue), or None.
        comment: What is known of it; empty for nothing.
    """

    name: str
    colour: Colour | None = None
    comment: str = ''


def refuse_existing(root: Path) -> None:
    """Raise ``UserError`` if the folder has a description already."""
    path = root / DESCRIPTION_FILE
    if os.path.lexists(path):
        raise UserError(
            f'{path}: exists and is not overwritten; edit it, or move it away to write a new one'
        )


def check_names(names: Sequence[str]) -> None:
    """Raise ``UserError`` for names of classes that the file cannot have."""
    wrong = next((name for name in names if not name.strip() or not name.isprintable()), None)
    wrong = long_name(names) if wrong is None else wrong
    if wrong is not None:
        raise UserError(
            f'the class {short_repr(wrong)}: a name must have 1 to {MAX_NAME_CHARACTERS} '
            'characters, without control characters; rename it'
        )
    repeated = repeated_name(names)
    if repeated is not None:
        raise UserError(f'two classes are called {short_text(repeated)}; rename one of them')


def write(
    root: Path,
    folders: Folders,
    classes: Sequence[ClassLine],
    label_format: str | None = None,
    ignore: Sequence[int | Colour] = (),
    remarks: Sequence[str] = (),
) -> None:
    """Write the description of the data in a folder.

    Args:
        root: The folder.
        folders: Where it has images and masks.
        classes: The classes, in the order of their indices; all or none have a colour.
        label_format: As in the file.
        ignore: As in the file.
        remarks: Comments at its beginning, a line each.

    Raises:
        UserError: The file exists or cannot be written.
    """
    refuse_existing(root)
    check_names([each.name for each in classes])
    lines = [f'# {one_line(remark)}' for remark in remarks]
    for key, value, default in (
        ('images', folders.images, 'images'),
        ('labels', folders.labels, 'labels'),
        ('label_suffix', folders.suffix, ''),
    ):
        if value != default:
            lines.append(f'{key}: {quoted(value)}')
    if label_format is not None:
        lines.append(f'label_format: {label_format}')
    own = [_written(each) for each in ignore]
    note = '' if IGNORE in ignore or not label_format else '   # values or colours without a class'
    lines.append(f'ignore: [{", ".join(own)}]{note}')
    lines.append('classes:')
    rows = [
        f'  - {quoted(each.name)}'
        if each.colour is None
        else f'  {quoted(each.name)}: {_written(each.colour)}'
        for each in classes
    ]
    width = max(map(len, rows))
    for row, each in zip(rows, classes):
        lines.append(f'{row.ljust(width)}   # {one_line(each.comment)}' if each.comment else row)
    with files.replacing(root / DESCRIPTION_FILE) as temporary:
        temporary.write_text('\n'.join([*lines, '']), encoding='utf-8')


def _written(value: int | Colour) -> str:
    return str(value) if isinstance(value, int) else str(list(value))
