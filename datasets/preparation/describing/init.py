"""Describe a user's data: find its folders, count the values of its masks, write dataset.yaml."""

import shlex
from pathlib import Path
from typing import Any

from common.command import DONE
from common.errors import UserError
from common.log import LOG
from common.terminal.name_list import first_names
from common.terminal.printable import one_line
from common.terminal.tables import Column, lines
from datasets.info import DataError
from datasets.preparation import inside
from datasets.preparation.describing import description_file
from datasets.preparation.describing.description_file import ClassLine
from datasets.preparation.describing.folders import OTHER_SPLITS, Folders, find_folders
from datasets.preparation.describing.mask_values import MaskContents, count_values
from datasets.preparation.describing.proposal import Proposal, propose
from datasets.preparation.describing.settings import InitSettings
from datasets.preparation.settings import number_of_processes
from datasets.readers import folder, layout
from datasets.readers.folder_description import COLOURS, DESCRIPTION_FILE, Description

NAME = folder.INFO.name


def describe_data(settings: InitSettings) -> int:
    """Write ``dataset.yaml``, print what the masks have, and return the exit status.

    Raises:
        UserError: The file exists, or the masks cannot be used.
    """
    processes = number_of_processes(settings.processes)
    root = layout.data_root(NAME, settings.data_dir)
    if not root.is_dir():
        raise DataError(f'{root}: no such folder; name that of your images and masks with -d')
    description_file.refuse_existing(root)
    images = inside.existing_folder_in(root, '--images', settings.images)
    labels = inside.existing_folder_in(root, '--labels', settings.labels)
    found = find_folders(root, images, labels, settings.label_suffix)
    masks = _masks(root, found)
    contents = count_values(masks, settings.max_pixels, processes)
    proposal = propose(contents)
    names = _names(proposal, settings.classes)
    total = _total(contents)
    description_file.write(
        root,
        found,
        [
            ClassLine(name, each.colour, _comment(each.count.pixels, each.count.masks, total))
            for name, each in zip(names, proposal.classes)
        ],
        proposal.label_format,
        proposal.ignore,
        [*_heading(contents, bool(settings.classes)), *proposal.remarks],
    )
    print(
        f'images in {one_line(root / found.images)}, {contents.masks} masks in '
        f'{one_line(root / found.labels)}'
        + (f', their names end in {one_line(found.suffix)}' if found.suffix else '')
    )
    _print_classes(proposal, names, total)
    for remark in proposal.remarks:
        LOG.warning('%s', remark)
    print(f'{one_line(root / DESCRIPTION_FILE)} written; {_next_step(settings, root, found)}')
    return DONE


def _masks(root: Path, found: Folders) -> list[Path]:
    """Return the masks that have an image."""
    nothing = frozenset[Any]()
    description = Description(
        (), (), nothing, nothing, found.images, found.labels, found.suffix, None
    )
    return [sample.label for sample in folder.pairs(root, description) if sample.label]


def _names(proposal: Proposal, named: tuple[str, ...]) -> list[str]:
    """Return the user's names of the classes, or the proposed ones."""
    proposed = [each.name for each in proposal.classes]
    if named and len(named) != len(proposed):
        raise UserError(
            f'--classes {" ".join(named)}: {len(named)} names, but the masks have '
            f'{len(proposed)} classes ({first_names(proposed, 10)})'
        )
    return list(named) or proposed


def _total(contents: MaskContents) -> int:
    counts = (contents.grey, contents.indexed, contents.colours)
    return sum(count.pixels for each in counts for count in each.values())


def _comment(pixels: int, masks: int, total: int) -> str:
    return f'{pixels / total:.2%} of the pixels, in {masks} masks'


def _heading(contents: MaskContents, named: bool) -> list[str]:
    """Return the comments at the beginning of the file."""
    heading = [f'Your own data, for `dataset: folder`, with the classes of {contents.masks} masks.']
    if not named:
        heading.append('Put the names of your classes in place of these; keep order and colours.')
    return heading


def _print_classes(proposal: Proposal, names: list[str], total: int) -> None:
    """Print a table of the classes."""
    by_colour = proposal.label_format == COLOURS
    rows = [
        (
            str(list(each.colour)) if by_colour and each.colour else str(index),
            name,
            f'{100 * each.count.pixels / total:.3f}',
            str(each.count.masks),
        )
        for index, (name, each) in enumerate(zip(names, proposal.classes))
    ]
    heads = ('colour' if by_colour else 'value', 'class', 'pixels %', 'masks')
    columns = [Column(head, right=number > 1) for number, head in enumerate(heads)]
    print(*lines(columns, rows), sep='\n')
    rest = total - sum(each.count.pixels for each in proposal.classes)
    if rest:
        print(f'ignored: {100 * rest / total:.3f} % of the pixels')


def _next_step(settings: InitSettings, root: Path, found: Folders) -> str:
    """Return what to do next."""
    images = root / found.images
    where = f' -d {shlex.quote(str(settings.data_dir))}' if settings.data_dir else ''
    fill_in = '' if settings.classes else 'fill in the names of the classes, then '
    has_splits = any((images / split).is_dir() for split in folder.SPLITS)
    form = f'folder{where} --check' if has_splits else f'split{where}'
    step = f'python -m datasets.prepare {form}'
    renames = _renames(root, found) if has_splits else []
    return one_line(f'{fill_in}run {"; ".join([*renames, step])}')


def _renames(root: Path, found: Folders) -> list[str]:
    """Return the commands that give folders of splits the names that are read."""
    return [
        f'mv {shlex.quote(str(place / name))} {shlex.quote(str(place / split))}'
        for name, split in OTHER_SPLITS.items()
        for place in dict.fromkeys((root / found.images, root / found.labels))
        if (place / name).is_dir() and not (place / split).exists()
    ]
