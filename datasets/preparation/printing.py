"""Print what data sets contain: tables of classes, statistics, depth."""

from collections.abc import Mapping, Sequence
from typing import Any

from common.terminal.printable import one_line
from common.terminal.tables import Column, lines
from datasets.dataset import Dataset
from datasets.info import DatasetInfo
from datasets.preparation.statistics import Statistics
from datasets.samples import count_of


def print_classes(facts: Mapping[str, Any]) -> None:
    """Print the share of each class.

    Args:
        facts: ``classes``, ``ignored`` and ``without_pixels`` of a report for JSON.
    """
    print_table(
        ('class', 'pixels %', 'images'),
        [
            (name, f'{100 * each["share"]:.3f}', each['images'])
            for name, each in facts['classes'].items()
        ],
    )
    hint = '; if they show a background, make it a class' if facts['ignored'] > 0.5 else ''
    print(f'ignored pixels: {100 * facts["ignored"]:.3f} %{hint}')
    print_missing(facts['without_pixels'])


def print_statistics(dataset: Dataset, found: Statistics) -> dict[str, Any]:
    """Print mean, standard deviation and class weights; return them for JSON.

    Args:
        dataset: The split, whose labels are those of the statistics.
        found: Its statistics.
    """
    return {**print_colours(dataset, found), **print_weights(dataset.info, found)}


def print_colours(dataset: Dataset, found: Statistics) -> dict[str, Any]:
    """Print mean and standard deviation of the colours; return them for JSON."""
    count = count_of(found.samples, 'image')
    print(f'{dataset.info.name} {dataset.split}: {count}; red, green, blue in 0..255')
    for name, values in (('mean', found.mean), ('std', found.std)):
        print(f'{name}: [{", ".join(f"{value:.3f}" for value in values)}]')
    return {'samples': found.samples, 'mean': found.mean.tolist(), 'std': found.std.tolist()}


def print_weights(info: DatasetInfo, found: Statistics) -> dict[str, Any]:
    """Print class weights; return them for JSON.

    Args:
        info: The classes.
        found: The statistics of their labels.
    """
    weights = {
        'median_frequency': found.median_frequency(),
        'enet': found.enet(),
        'inverse_log': found.inverse_log(),
    }
    classes = info.classes
    rows = zip(classes, *weights.values())
    print_table(
        ('weights', 'median frequency', 'ENet', 'inverse log'),
        [(name, *(f'{value:.4f}' for value in values)) for name, *values in rows],
    )
    print_missing(found.missing_classes(info))
    return {
        'without_pixels': found.missing_classes(info),
        **{name: dict(zip(classes, values.tolist())) for name, values in weights.items()},
    }


def print_depth(task: str, facts: Mapping[str, Any]) -> None:
    """Print what depth maps show.

    Args:
        task: The task.
        facts: Those of :func:`datasets.preparation.check_scenes.depth_as_json`.
    """
    extent = ''
    if facts['median'] is not None:
        extent = ', {least:.2f} to {most:.2f} m, median {median:.2f} m'.format(**facts)
    print(f'{task}: {count_of(facts["files"], "file")}, {100 * facts["known"]:.2f} % known{extent}')


def count_of_problems(number: int) -> str:
    """Return ``no problems``, ``1 problem`` or ``2 problems``."""
    return count_of(number, 'problem') if number else 'no problems'


def print_missing(classes: Sequence[str]) -> None:
    """Print the classes that no pixel belongs to, if there are any."""
    if classes:
        print(f'classes without a pixel: {one_line(", ".join(classes))}')


def print_table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table with its first column left-aligned and the others right-aligned."""
    columns = [Column(head, right=number > 0) for number, head in enumerate(heads)]
    print(*lines(columns, [[str(cell) for cell in row] for row in rows]), sep='\n')
