"""Summarise a run as a page of Markdown."""

import math
import os
from pathlib import Path
from urllib.parse import quote

from common.terminal.printable import one_line
from common.terminal.tables import Column, markdown
from engine.evaluation.score_table import DEPTH_SCORES
from engine.report.records import RunRecord

UNKNOWN = '-'


def format_page(record: RunRecord, picture: Path) -> str:
    """Format a page of Markdown about a run; it links the picture relative to the run's folder."""
    facts = record.facts
    versions = [f'{name} {version}' for name, version in facts.get('versions', {}).items()]
    rows = [
        ('config', facts.get('name') or UNKNOWN),
        ('network', record.network),
        ('data set', record.data.dataset or UNKNOWN),
        ('iterations', f'{record.iteration} of {record.total or UNKNOWN}'),
        ('wall time', duration(record.times[-1][3]) if record.times else UNKNOWN),
        *_losses(record),
        *_scores(record),
        ('processes', facts.get('processes', UNKNOWN)),
        ('seed', facts.get('seed', UNKNOWN)),
        ('state', _state(record)),
    ]
    blocks = [f'# {one_line(record.name)}', _table(('', ''), rows)]
    if record.problem:
        blocks.append(record.problem)
    blocks.append(picture_link(picture, record.folder.path))
    if record.validations:
        blocks += _last_validation(record.validations[-1])
    sizes = [
        (path.name, f'{path.stat().st_size / 2**20:.1f}')
        for path in (*record.folder.saved().values(), *record.folder.others())
    ]
    blocks += ['## Checkpoints', _table(('file', 'MiB'), sizes) if sizes else 'None yet.']
    if versions:
        blocks += ['## Versions', ', '.join(versions)]
    return '\n\n'.join(blocks) + '\n'


def _last_validation(last: dict) -> list[str]:
    """Return the classes of the last validation with their IoU, and the scores of depth tasks."""
    if 'tasks' not in last:
        blocks = [f'## Classes at iteration {last["iteration"]}', _classes(last)]
    else:
        blocks = []
        for name, own in last['tasks'].items():
            blocks.append(f'## {one_line(name).capitalize()} at iteration {last["iteration"]}')
            blocks.append(_classes(own) if 'classes' in own else _depths(own))
    return blocks


def _classes(scores: dict) -> str:
    classes = [(name, _number(iou)) for name, iou in scores['classes'].items()]
    return _table(('class', 'IoU in %'), classes)


def _depths(scores: dict) -> str:
    rows = [(title, _depth_number(scores[name])) for name, title in DEPTH_SCORES.items()]
    return _table(('score', 'value'), rows)


def _depth_number(value: float | None) -> str:
    return UNKNOWN if value is None else f'{value:.4g}'


def _losses(record: RunRecord) -> list[tuple[str, str]]:
    if not record.losses:
        return [('loss', UNKNOWN)]
    last, numbers = record.losses[-1], [row for row in record.losses if not math.isnan(row[1])]
    rows = [('last loss', f'{last[1]:.5g}')]
    if numbers:
        iteration, loss = min(numbers, key=lambda row: row[1])
        rows.append(('lowest loss', f'{loss:.5g} at iteration {iteration:.0f}'))
    return rows


def _scores(record: RunRecord) -> list[tuple[str, str]]:
    if not record.scores:
        return [(f'validation {record.measure}', UNKNOWN)]
    iteration, best = max(record.scores, key=lambda row: row[1])
    tasks = [
        (f'last validation {task.measure} of {task.name}', f'{task.scores[-1][1]:.2f} %')
        for task in record.tasks
        if task.scores
    ]
    return [
        (f'last validation {record.measure}', f'{record.scores[-1][1]:.2f} %'),
        (f'best validation {record.measure}', f'{best:.2f} % at iteration {iteration}'),
        *tasks,
        ('last validated', record.validations[-1].get('origin', UNKNOWN)),
    ]


def _state(record: RunRecord) -> str:
    if record.problem:
        return 'cannot be used'
    return f'of iteration {record.facts["iteration"]}' if record.facts else 'none yet'


def _table(titles: tuple[str, str], rows: list[tuple]) -> str:
    """Return a Markdown table of two columns; empty titles are allowed."""
    first, second = titles
    columns = [Column(first), Column(second, right=bool(second))]  # columns with a title: numbers
    return '\n'.join(markdown(columns, [[str(cell) for cell in row] for row in rows]))


def picture_link(picture: Path, folder: Path) -> str:
    """Return Markdown that shows the picture of the curves on a page in ``folder``."""
    return f'![curves]({quote(Path(os.path.relpath(picture, folder)).as_posix())})'


def duration(seconds: float) -> str:
    """Return a time in hours, minutes and seconds."""
    minutes, seconds = divmod(round(seconds), 60)
    return f'{minutes // 60}:{minutes % 60:02d}:{seconds:02d} h'


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f'{value:.2f}'
