"""Compare several runs on a page of Markdown."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from common.terminal.short_repr import short_text
from common.terminal.tables import Column, markdown
from engine.report import groups as run_groups
from engine.report.groups import RunGroup
from engine.report.records import RunRecord
from engine.report.summary import UNKNOWN, duration, picture_link

HEADING = '# Comparison of runs'  # starts every such page
NO_DIFFERENCE = 'No key of the configs, and no option, version or progress that is known.'
MAX_VALUE_CHARACTERS = 60  # of a value in the table of differences

Value = Callable[[RunRecord], float | None]


def format_page(groups: Sequence[RunGroup], picture: Path, page: Path) -> str:
    """Format the page; it links the picture relative to its own folder.

    Args:
        groups: The runs, those that differ in the seed alone together.
        picture: File of the picture.
        page: File of the page.
    """
    blocks = [HEADING, _scores(groups), *_notes(groups), picture_link(picture, page.parent)]
    differing = run_groups.differences(groups)
    blocks.append('## What differs')
    same = 'Nothing but the seeds.' if len(groups) == 1 else NO_DIFFERENCE
    blocks.append(_differences(groups, differing) if differing else same)
    return '\n\n'.join(blocks) + '\n'


def spread(values: Iterable[float | None], form: str) -> str:
    """Return the mean of the known values, with their standard deviation if there are several.

    The deviation is that of a sample: the sum of squares is divided by n - 1. If some values are
    unknown, n is said.

    Args:
        values: The values; None for unknown ones.
        form: Format of a number, such as ``.2f``.
    """
    given = list(values)
    known = [value for value in given if value is not None]
    if not known:
        return UNKNOWN
    text = format(statistics.fmean(known), form)
    if len(known) > 1:
        text += f' ± {format(statistics.stdev(known), form)}'
    return text if len(known) == len(given) else f'{text} (n = {len(known)})'


def _scores(groups: Sequence[RunGroup]) -> str:
    """Return the table of scores and speed, with a row for each group."""
    several = any(len(group.runs) > 1 for group in groups)
    records = [record for group in groups for record in group.records]
    measure = _measures(groups)
    titles = ['run', *(['n'] if several else []), 'seed', 'iterations', f'last {measure}, %']
    tasks = dict.fromkeys((t.name, t.measure) for record in records for t in record.tasks)
    titles += [f'last {name} {own}, %' for name, own in tasks]
    titles += [f'best {measure}, %', 'at iteration', 's/iteration', 'images/s', 'wall time']
    columns = [Column(title, right=title != 'run') for title in titles]
    rows = []
    for group in groups:
        rows.append(
            [
                group.name,
                *([str(len(group.runs))] if several else []),
                _listed(UNKNOWN if run.seed is None else str(run.seed) for run in group.runs),
                group.facts['iterations'],
                _spread(group, _last, '.2f'),
                *(_spread(group, partial(_last_of_task, name), '.2f') for name, _ in tasks),
                _spread(group, lambda record: _best(record)[1], '.2f'),
                _listed(str(_best(record)[0] or UNKNOWN) for record in group.records),
                _spread(group, lambda record: record.seconds, '.3g'),
                _spread(group, lambda record: record.images_per_second, '.3g'),
                _wall_time(group),
            ]
        )
    return '\n'.join(markdown(columns, rows))


def _measures(groups: Sequence[RunGroup]) -> str:
    """Return the names of the scores by which the runs are judged."""
    return ' or '.join(sorted({record.measure for group in groups for record in group.records}))


def _notes(groups: Sequence[RunGroup]) -> list[str]:
    """Return what a reader has to know to compare the rows."""
    notes = []
    if any(len(group.runs) > 1 for group in groups):
        notes.append(
            'Runs that differ in the seed alone are one row: n runs, the mean ± the standard '
            'deviation of a sample (n - 1).'
        )
    data = {group.name: group.data for group in groups if group.data is not None}
    if len(set(data.values())) > 1:
        notes.append(
            f'The {_measures(groups)} of different images cannot be compared: '
            + '; '.join(f'{name}: {images}' for name, images in data.items())
            + '.'
        )
    runs = [run for group in groups for run in group.runs]
    for reason, names in (
        ('no results yet', [run.name for run in runs if not run.record.iteration]),
        (
            f'no validation {_measures(groups)}',
            [run.name for run in runs if run.record.iteration and not run.record.scores],
        ),
        ('no state that says the seed', [run.name for run in runs if run.seed is None]),
    ):
        if names:
            notes.append(f'{reason[0].upper()}{reason[1:]}: {", ".join(names)}.')
    notes += [run.record.problem for run in runs if run.record.problem]
    return notes


def _differences(groups: Sequence[RunGroup], differing: dict[str, list[Any]]) -> str:
    """Return the table of what differs, with a column for each group."""
    columns = [Column(''), *(Column(group.name) for group in groups)]
    rows = [[name, *map(_value_text, values)] for name, values in differing.items()]
    return '\n'.join(markdown(columns, rows))


def _value_text(value: Any) -> str:
    return UNKNOWN if value is None else short_text(str(value), MAX_VALUE_CHARACTERS)


def _wall_time(group: RunGroup) -> str:
    """Return the mean time that the runs have taken."""
    known = [record.times[-1][3] for record in group.records if record.times]
    return duration(statistics.fmean(known)) if known else UNKNOWN


def _spread(group: RunGroup, value: Value, form: str) -> str:
    return spread(map(value, group.records), form)


def _last(record: RunRecord) -> float | None:
    return record.scores[-1][1] if record.scores else None


def _last_of_task(name: str, record: RunRecord) -> float | None:
    """Return the last main score of a task; None without one."""
    own = next((task.scores for task in record.tasks if task.name == name), [])
    return own[-1][1] if own else None


def _best(record: RunRecord) -> tuple[int, float] | tuple[None, None]:
    """Return iteration and score of the best validation."""
    return max(record.scores, key=lambda row: row[1], default=(None, None))


def _listed(texts: Iterable[str]) -> str:
    """Return texts separated by commas, or one that all are."""
    found = list(texts)
    return found[0] if len(set(found)) == 1 else ', '.join(found)
