"""Write and read the numbers of a run: series of NNabla's monitors and validation scores.

Training-loss.series.txt                  iteration, mean over an interval
Learning-rate.series.txt                  iteration, mean over an interval
Validation-mIoU.series.txt                iteration, percent
Training-loss-TASK.series.txt             of several tasks: iteration, mean over an interval
Validation-score.series.txt               of several tasks: iteration, percent
Validation-TASK.series.txt                of several tasks: iteration, mIoU or ARD in percent
Training-time-per-iteration.timer.txt     iteration, seconds and iterations since the last line,
                                          seconds since the start of the run; a validation after
                                          the iteration counts
validation.json                           a list of scores, one entry per validation
"""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from nnabla.monitor import MonitorSeries, MonitorTimeElapsed

from common import files
from common.errors import UserError
from common.reading import json_text
from common.reading.text_files import TextFileError, read_text
from engine.runs import validation_scores

LOSS, RATE, SCORE = 'Training loss', 'Learning rate', 'Validation mIoU'
TASK_SCORE = 'Validation score'  # of several tasks together
TIME = 'Training time per iteration'
COLUMN_COUNTS = {LOSS: 2, RATE: 2, SCORE: 2, TIME: 4}
TASK_COLUMNS = 2  # of the series of tasks
VALIDATIONS = 'validation.json'
MAX_COUNT = 2**53  # iterations or seconds; floats hold whole numbers exactly up to here


class RunSeries:
    """A writer that appends the numbers of a run to those of earlier iterations.

    Args:
        folder: Folder of the run.
        start_iteration: Number of completed iterations. Entries of later iterations are dropped.
        start_of_interval: Last iteration of the last complete interval. Means of later intervals
            are dropped; the next call of :meth:`interval` appends the mean that includes the
            iterations from there to ``start_iteration``.
        seconds: Seconds that the run has taken before.
        tasks: Names of the tasks; () for a network of one.

    Raises:
        OSError: A file cannot be written. All methods raise it as well.
        UserError: A file cannot be written or read. All methods raise it as well.
    """

    def __init__(
        self,
        folder: Path,
        start_iteration: int,
        start_of_interval: int,
        seconds: float = 0,
        tasks: Sequence[str] = (),
    ):
        self._folder, self._path = folder, folder / VALIDATIONS
        self._entries = [e for e in read_validations(folder) if e['iteration'] <= start_iteration]
        self._write_entries()
        self._means = _series([LOSS, RATE, *map(task_loss, tasks)])
        names = [TASK_SCORE, *map(validation_scores.series_name, tasks)] if tasks else [SCORE]
        self._scores = _series(names)
        self._times = MonitorTimeElapsed(TIME, interval=1, verbose=False)
        self._times.flush_at = start_iteration
        # A monitor created with a folder empties its file, so the folder is set afterwards.
        monitors: list[MonitorSeries | MonitorTimeElapsed] = [*self._means.values()]
        for monitor in [*monitors, *self._scores.values(), self._times]:
            mean = monitor.name in self._means
            self._cut(monitor, start_of_interval if mean else start_iteration)
            monitor.sp = str(series_path(folder, monitor.name))
        recorded = (row[3] for row in read_series(folder, TIME)[-1:])
        self._times.start -= max(seconds, *recorded, 0)

    def seconds(self) -> float:
        """Return the seconds that the run has taken so far."""
        return time.time() - self._times.start

    def extend_time(self):
        """Add the time since the last line of the timer to it, such as that of a validation.

        Without any line, the first one will contain it.
        """
        rows, path = read_series(self._folder, TIME), series_path(self._folder, TIME)
        if not rows:
            return
        iteration, seconds, count, _ = rows[-1]
        now = time.time()
        seconds += now - self._times.lap
        self._times.lap = now
        last = f'{iteration:.0f} {seconds} {count:.0f} {now - self._times.start}'
        with files.replacing(path) as temporary:
            lines = [*_lines(path)[:-1], last]
            temporary.write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')

    def interval(
        self,
        iteration: int,
        loss: float,
        lr: float,
        task_losses: Mapping[str, float] = MappingProxyType({}),
    ):
        """Append the means over an interval.

        Args:
            iteration: Last iteration of the interval.
            loss: Mean training loss.
            lr: Mean learning rate.
            task_losses: Mean loss of each task by name; empty for one task.
        """
        own = {task_loss(name): value for name, value in task_losses.items()}
        for name, value in {LOSS: loss, RATE: lr, **own}.items():
            self._means[name].add(iteration, value)
        self._times.add(iteration)

    def validation(self, iteration: int, report: Mapping):
        """Append the scores of a validation, in place of earlier scores of this iteration.

        A resumed run repeats a validation if the run was killed before the next checkpoint.

        Args:
            iteration: Number of completed iterations.
            report: Report of ``engine.evaluation``.
        """
        kept = [entry for entry in self._entries if entry['iteration'] < iteration]
        if len(kept) < len(self._entries):
            for monitor in self._scores.values():
                self._cut(monitor, iteration - 1)
        self._entries = [*kept, validation_scores.entry_of(iteration, report)]
        self._write_entries()
        self.extend_time()
        for name, score in validation_scores.series_of(report).items():
            self._scores[name].add(iteration, score)

    def _cut(self, monitor: MonitorSeries | MonitorTimeElapsed, last: int):
        """Drop the lines of iterations after ``last``."""
        path = series_path(self._folder, monitor.name)
        rows = read_series(self._folder, monitor.name)
        lines = [line for line, row in zip(_lines(path), rows) if row[0] <= last]
        with files.replacing(path) as temporary:
            temporary.write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')

    def _write_entries(self):
        with files.replacing(self._path) as temporary:
            text = json.dumps(self._entries, indent=1, allow_nan=False) + '\n'
            temporary.write_text(text, encoding='utf-8')


def task_loss(task: str) -> str:
    """Return the name of the series of a task's training loss."""
    return f'{LOSS} {task}'


def _series(names: Sequence[str]) -> dict[str, MonitorSeries]:
    return {name: MonitorSeries(name, verbose=False) for name in names}


def series_path(folder: Path, name: str) -> Path:
    """Return the path of the file that NNabla's monitor of this name writes."""
    kind = 'timer' if name == TIME else 'series'
    return folder / f'{name.replace(" ", "-")}.{kind}.txt'


def read_series(folder: Path, name: str) -> list[tuple[float, ...]]:
    """Read the rows of a monitor's file, iteration first; a missing file has none.

    Raises:
        UserError: The file is unreadable or not a series.
    """
    path = series_path(folder, name)
    remedy = 'remove it to continue without its numbers'
    try:
        lines = _lines(path)
    except TextFileError as error:
        raise UserError(f'{error}; {remedy}') from error
    rows = []
    for number, line in enumerate(lines, 1):
        row = _row(line, name)
        if row is None:
            raise UserError(
                f'{path}: is no series of {_columns(name)} numbers per line (line {number}); '
                f'{remedy}'
            )
        rows.append(row)
    return rows


def _row(line: str, name: str) -> tuple[float, ...] | None:
    """Return the numbers in a line of a series; None if they are not those of this series."""
    try:
        row = tuple(map(float, line.split()))
    except ValueError:
        return None
    # A loss can be infinite or NaN; iterations and seconds count something.
    counted = row if name == TIME else row[:1]
    right = len(row) == _columns(name) and all(0 <= value <= MAX_COUNT for value in counted)
    return row if right else None


def _columns(name: str) -> int:
    return COLUMN_COUNTS.get(name, TASK_COLUMNS)


def read_validations(folder: Path) -> list[dict]:
    """Read the scores of all validations in percent; a missing file has none.

    Returns:
        Dictionaries with ``iteration``, ``miou``, ``pixel_accuracy`` and ``classes``, the IoU by
        class name. Those of several tasks have ``score`` and ``tasks`` instead, in which each task
        of kind classes has these scores, and each depth task its own. Entries of newer versions
        also tell what was scored: ``images``, their number, ``settings``, as in the report of
        evaluate.py, and ``origin``, the same as one line.

    Raises:
        UserError: The file is unreadable or not a list of scores.
    """
    path = folder / VALIDATIONS
    if files.kind_of(path) is None:
        return []
    remedy = 'remove it to continue without its scores'
    try:
        entries = json_text.read(path, list)
    except TextFileError as error:
        raise UserError(f'{error}; {remedy}') from error
    for number, entry in enumerate(entries):
        if not validation_scores.is_entry(entry):
            raise UserError(f'{path}: is not a list of scores (entry {number}); {remedy}')
    return entries


def _lines(path: Path) -> list[str]:
    """Return the terminated lines of a file; a killed run can leave a last line incomplete."""
    if files.kind_of(path) is None:
        return []
    return read_text(path).split('\n')[:-1]
