"""The numbers of a run that outlive it: NNabla's monitors and the scores of all validations.

Training-loss.series.txt                  iteration, mean over an interval
Learning-rate.series.txt                  the same
Validation-mIoU.series.txt                iteration, percent
Training-time-per-iteration.timer.txt     iteration, seconds and iterations since the last line,
                                          seconds since the start of the run
validation.json                           a list of scores, one entry a validation
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path

from nnabla.monitor import MonitorSeries, MonitorTimeElapsed

from common import files
from common.errors import UserError

LOSS, RATE, SCORE = 'Training loss', 'Learning rate', 'Validation mIoU'
TIME = 'Training time per iteration'
COLUMNS = {LOSS: 2, RATE: 2, SCORE: 2, TIME: 4}
VALIDATIONS = 'validation.json'


class RunSeries:
    """Writes the numbers of a run in ``folder``, and keeps those up to ``start_iteration``; what
    is there of later ones is dropped. Means are kept up to ``start_of_interval``: that of the
    iterations from there on is still to come.

    All methods raise ``OSError`` or ``UserError`` when the files cannot be written.
    """

    def __init__(self, folder: Path, start_iteration: int, start_of_interval: int):
        self._folder, self._path = folder, folder / VALIDATIONS
        self._entries = [e for e in read_validations(folder) if e['iteration'] <= start_iteration]
        self._write_entries()
        self._losses, self._rates, self._scores = (
            MonitorSeries(name, verbose=False) for name in (LOSS, RATE, SCORE)
        )
        self._times = MonitorTimeElapsed(TIME, interval=1, verbose=False)
        self._times.flush_at = start_iteration
        # A monitor with a folder empties its file; these get theirs with the lines that stay.
        for monitor in (self._losses, self._rates, self._scores, self._times):
            mean = monitor in (self._losses, self._rates)
            self._cut(monitor, start_of_interval if mean else start_iteration)
            monitor.sp = str(series_path(folder, monitor.name))
        times = read_series(folder, TIME)
        if times:
            self._times.start = time.time() - times[-1][3]

    def interval(self, iteration: int, loss: float, lr: float):
        """Add the means over the iterations up to this one."""
        self._losses.add(iteration, loss)
        self._rates.add(iteration, lr)
        self._times.add(iteration)

    def validation(self, iteration: int, report: Mapping):
        """Add scores as ``engine.evaluation.evaluator`` reports them, in the place of earlier ones
        of this iteration: a validation after which a run was killed is done again.
        """
        kept = [entry for entry in self._entries if entry['iteration'] < iteration]
        if len(kept) < len(self._entries):
            self._cut(self._scores, iteration - 1)
        self._entries = kept
        self._entries.append(
            {
                'iteration': iteration,
                'miou': report['miou'],
                'pixel_accuracy': report['pixel_accuracy'],
                'classes': {name: values['iou'] for name, values in report['classes'].items()},
            }
        )
        self._write_entries()
        if report['miou'] is not None:
            self._scores.add(iteration, report['miou'])

    def _cut(self, monitor: MonitorSeries | MonitorTimeElapsed, last: int):
        """Drop the lines of iterations after ``last``."""
        path = series_path(self._folder, monitor.name)
        rows = read_series(self._folder, monitor.name)
        lines = [line for line, row in zip(_lines(path), rows) if row[0] <= last]
        with files.replacing(path) as temporary:
            temporary.write_text(''.join(f'{line}\n' for line in lines))

    def _write_entries(self):
        with files.replacing(self._path) as temporary:
            temporary.write_text(json.dumps(self._entries, indent=1, allow_nan=False) + '\n')


def series_path(folder: Path, name: str) -> Path:
    """Where NNabla's monitor of this name writes."""
    kind = 'timer' if name == TIME else 'series'
    return folder / f'{name.replace(" ", "-")}.{kind}.txt'


def read_series(folder: Path, name: str) -> list[tuple[float, ...]]:
    """The rows of a monitor's file, iteration first; none where there is no file.

    Raises ``UserError`` for a file that is something else.
    """
    path = series_path(folder, name)
    problem = f'is no series of {COLUMNS[name]} numbers a line'
    try:
        rows = [tuple(map(float, line.split())) for line in _lines(path)]
        if all(len(row) == COLUMNS[name] for row in rows):
            return rows
    except (OSError, ValueError) as error:
        problem = f'cannot be read ({error})'
    raise UserError(f'{path}: {problem}; remove it to go on without its numbers')


def read_validations(folder: Path) -> list[dict]:
    """The scores of all validations: dictionaries with ``iteration``, ``miou``,
    ``pixel_accuracy`` and ``classes``, IoU by name, in percent; none where there is no file.

    Raises ``UserError`` for a file that is something else.
    """
    path = folder / VALIDATIONS
    if files.kind_of(path) is None:
        return []
    try:
        entries = json.loads(path.read_text(encoding='utf-8'))
        if all(_is_entry(entry) for entry in entries):
            return entries
        problem = 'is no list of scores'
    except (OSError, ValueError, TypeError) as error:
        problem = f'cannot be read ({error})'
    raise UserError(f'{path}: {problem}; remove it to go on without its scores')


def _lines(path: Path) -> list[str]:
    """The whole lines of a file; a last one without an end is of a run killed while writing it."""
    if files.kind_of(path) is None:
        return []
    return path.read_text(encoding='utf-8').split('\n')[:-1]


def _is_entry(entry) -> bool:
    score = int | float | None
    return (
        isinstance(entry, dict)
        and isinstance(entry.get('iteration'), int)
        and isinstance(entry.get('classes'), dict)
        and all(isinstance(entry.get(key, ''), score) for key in ('miou', 'pixel_accuracy'))
        and all(isinstance(iou, score) for iou in entry['classes'].values())
    )
