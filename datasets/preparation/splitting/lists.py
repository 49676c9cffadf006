"""Divide the images of a folder and write the lists ``train.txt``, ``val.txt`` and ``test.txt``."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import datasets
from common import files
from common.command import DONE
from common.errors import UserError
from common.log import LOG
from common.process_map import map_samples
from common.terminal.name_list import first_names
from common.terminal.printable import one_line
from common.terminal.short_repr import short_repr
from common.terminal.tables import Column, lines
from datasets import Dataset, label_scan
from datasets.label_scan import LabelScan
from datasets.preparation.settings import number_of_processes
from datasets.preparation.splitting import balance
from datasets.preparation.splitting.balance import Groups
from datasets.preparation.splitting.groups import group_by_name
from datasets.preparation.splitting.settings import SplitSettings
from datasets.readers import folder, folder_description, layout

NAME = folder.INFO.name
RANDOM_SPLITS = 20  # to compare with
MAX_SEED = 2**32 - 1  # of numpy.random.RandomState


def write_lists(settings: SplitSettings) -> int:
    """Write the lists, print what each split has, and return the exit status.

    Raises:
        UserError: The folder has splits already, or the images cannot be divided as wanted.
    """
    processes = number_of_processes(settings.processes)
    if not 0 <= settings.seed <= MAX_SEED:
        raise UserError(f'--seed {settings.seed}: must be a number from 0 to {MAX_SEED}')
    root = layout.data_root(NAME, settings.data_dir)
    _refuse_other_splits(root)
    dataset = datasets.open(NAME, root, 'train', reading=settings.reading)
    names = [sample.name for sample in dataset]
    wanted = _wanted(settings, len(names))
    _check_names(names)
    members = group_by_name(names, settings.group)
    if len(members) < len(wanted):
        raise UserError(
            f'--group {settings.group}: {len(members)} groups are too few for {len(wanted)} splits'
        )
    dataset.log_counts()
    pixels, total = _count(dataset, processes)
    label_scan.judge(dataset, total)
    label_scan.refuse_ignored(dataset, total)
    groups = Groups(
        np.array([len(each) for each in members]), np.stack([pixels[m].sum(0) for m in members])
    )
    chosen = balance.divide(groups, list(wanted.values()), settings.seed)
    parts = _parts(members, chosen, wanted)
    for split, part in parts.items():
        text = ''.join(f'{names[index]}\n' for index in part)
        with files.replacing(root / f'{split}.txt') as temporary:
            temporary.write_text(text, encoding='utf-8')
    for number, (split, part) in enumerate(parts.items()):
        count = (chosen == number).sum()
        of_groups = f' in {count} of {len(members)} groups' if settings.group else ''
        print(
            f'{split}: {len(part)} of {len(names)} images ({len(part) / len(names):.1%}){of_groups}'
        )
    _print_classes(dataset.info.classes, pixels, parts)
    _print_deviation(dataset.info.classes, groups, chosen, list(wanted.items()))
    print(f'{", ".join(f"{split}.txt" for split in parts)} written to {one_line(root)}')
    return DONE


def _refuse_other_splits(root: Path) -> None:
    """Raise ``UserError`` if lists or folders define the splits already."""
    for split in folder.SPLITS:
        path = root / f'{split}.txt'
        if os.path.lexists(path):
            raise UserError(
                f'{path}: exists and is not overwritten; move away {split}.txt to split anew'
            )
    if (root / folder_description.DESCRIPTION_FILE).is_file():
        images = root / folder_description.read(root).images
        for split in folder.SPLITS:
            if (images / split).is_dir():
                raise UserError(
                    f'{images / split}: this folder defines a split, so lists would not be used; '
                    f'move its images, and their masks, to {images} to split anew'
                )


def _wanted(settings: SplitSettings, count: int) -> dict[str, int]:
    """Return the number of images of each split; raise ``UserError`` for impossible ones."""
    wanted: dict[str, int] = {}
    for split, value in (('val', settings.val), ('test', settings.test)):
        if not 0 <= value <= count or (value > 1 and value != int(value)):
            raise UserError(
                f'--{split} {value:g}: must be a share below 1, such as 0.2, or a number of the '
                f'{count} images'
            )
        number = int(value) if value >= 1 else round(value * count)
        if value:
            wanted[split] = max(number, 1)
    train = count - sum(wanted.values())
    if train < 1:
        raise UserError(
            f'--val {settings.val:g} --test {settings.test:g}: leave none of {count} images for '
            'training; name smaller shares'
        )
    if 'val' not in wanted:
        raise UserError('--val 0: a validation split is needed; name a share such as 0.2')
    return {'train': train, **wanted}


def _check_names(names: Sequence[str]) -> None:
    """Raise ``UserError`` for a name that a line of a list cannot hold."""
    for name in names:
        lines_of_list = list(name.strip().splitlines())
        if lines_of_list != [name] or not name.isprintable():
            raise UserError(
                f'the image {short_repr(name)} cannot stand in a list, because of blanks at its '
                'ends, or of other characters than text; rename it and its mask'
            )


def _count(dataset: Dataset, processes: int) -> tuple[np.ndarray, LabelScan]:
    """Return the pixels of each class in each image, (N, C) int64, and the scan of all labels."""
    total, counts = LabelScan(), []
    for scan in map_samples(dataset, _scan, processes, 'counting classes in'):
        total += scan
        counts.append(scan.pixels[: len(dataset.info.classes)])
    return np.stack(counts), total


def _scan(dataset: Dataset, index: int) -> LabelScan:
    return label_scan.scan_of_label(dataset[index].label, *dataset.examined(index))


def _parts(
    members: Sequence[Sequence[int]], chosen: np.ndarray, wanted: dict[str, int]
) -> dict[str, list[int]]:
    """Return the indices of the images of each split, sorted."""
    parts: dict[str, list[int]] = {}
    for number, split in enumerate(wanted):
        groups = np.flatnonzero(chosen == number)
        if not groups.size:
            raise UserError(
                f'--group: the groups are too large to leave one for {split}; write an expression '
                'that takes more of the name'
            )
        parts[split] = sorted(index for group in groups for index in members[group])
    return parts


def _print_classes(classes: Sequence[str], pixels: np.ndarray, parts: dict[str, list[int]]) -> None:
    """Print the share of each class in each split, and the images that show it."""
    sums = {split: pixels[part].sum(axis=0) for split, part in parts.items()}
    rows = []
    for index, name in enumerate(classes):
        shares = [each[index] / max(int(each.sum()), 1) for each in sums.values()]
        images = [int((pixels[part, index] > 0).sum()) for part in parts.values()]
        rows.append([name, *(f'{100 * share:.3f}' for share in shares), *map(str, images)])
    heads = ['class', *(f'{split} %' for split in parts), *(f'{split} images' for split in parts)]
    columns = [Column(head, right=number > 0) for number, head in enumerate(heads)]
    print(*lines(columns, rows), sep='\n')


def _print_deviation(
    classes: Sequence[str], groups: Groups, chosen: np.ndarray, wanted: Sequence[tuple[str, int]]
) -> None:
    """Print how even the classes are divided, beside random splits."""
    splits, sizes = zip(*wanted)
    having = (groups.pixels > 0).sum(axis=0)
    rare = [name for name, count in zip(classes, having) if 0 < count < len(splits)]
    if rare:
        LOG.warning(
            'too few images or groups show these classes for each split to have some: %s',
            first_names(rare, 10),
        )
    found = balance.deviations(groups, chosen, len(splits))
    if np.isnan(found).all():
        return
    split, index = map(int, np.unravel_index(np.nanargmax(found), found.shape))
    random = [balance.divide_at_random(groups, sizes, seed) for seed in range(RANDOM_SPLITS)]
    usual = np.median([np.nanmax(balance.deviations(groups, r, len(splits))) for r in random])
    print(
        f'largest deviation of a class from its share of all pixels: {found[split, index]:.1%} '
        f'({one_line(classes[index])} in {splits[split]}); in random splits {usual:.1%}'
    )
