"""What is told about a run while it goes on: progress, train.log, series, TensorBoard, scores.

with RunLogger(folder, log_interval=100, max_iter=80000, active=rank == 0) as logger:
    logger.step(1, loss, lr, data_seconds, step_seconds)
    logger.validation(8000, report)
"""

import logging
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from common.errors import UserError
from common.log import LOG
from engine.runs.series import RunSeries
from engine.runs.tensorboard import EventWriter

LOG_FILE = 'train.log'
IN_LOG = 'in_train_log'  # marks messages that train.log has already


class RunLogger:
    """The records of a run, written by one process; where not ``active`` nothing happens at all.

    train.log gets a line per interval and all that the project's logger says; the rest is of
    ``engine.runs.series`` and TensorBoard. The console gets a bar where standard error is a
    terminal, else the lines of train.log.

    folder: of the run. log_interval: iterations over which values are averaged. max_iter: of the
        whole run. start_iteration: how many were completed before; what the folder tells about
        later ones is dropped, as they will be done again.
    pending: what :meth:`pending` gave then.
    memory: MiB in use; by default the most that this process ever had in the machine's memory.

    All methods, and messages to the logger meanwhile, raise ``UserError`` when the folder cannot be
    written.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        log_interval: int,
        max_iter: int,
        active: bool,
        start_iteration: int = 0,
        pending: Sequence[Sequence[float]] = (),
        memory: Callable[[], float] | None = None,
    ):
        self._active, self._failed = active, False
        if not active:
            return
        self._folder = Path(folder)
        self._interval, self._last, self._start = log_interval, max_iter, start_iteration
        self._memory = memory or _peak_memory
        self._used = self._memory()  # asked once an interval: a GPU may take its time to answer
        self._steps = [tuple(step) for step in pending]
        self._skipped: list[tuple[int, float]] = []
        self._iteration = start_iteration
        self._started = time.monotonic()
        self._terminal = sys.stderr.isatty()
        with self._writing(), ExitStack() as stack:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._history = RunSeries(
                self._folder, start_iteration, start_iteration - len(self._steps)
            )
            self._events = EventWriter(self._folder, start_iteration)
            stack.callback(self._events.close)
            _end_last_line(self._folder / LOG_FILE)
            handler = _Handler(self._append)
            LOG.addHandler(handler)
            stack.callback(LOG.removeHandler, handler)
            self._bar = stack.enter_context(
                tqdm(
                    total=max_iter,
                    initial=start_iteration,
                    bar_format='{n_fmt}/{total_fmt} |{bar:10}| {elapsed}<{remaining}{postfix}',
                    dynamic_ncols=True,
                    disable=not self._terminal,
                )
            )
            if self._terminal:  # messages above the bar, not through it
                stack.enter_context(logging_redirect_tqdm())
            self._close_all = stack.pop_all().close

    def step(
        self, iteration: int, loss: float, lr: float, data_seconds: float, step_seconds: float
    ):
        """Note one iteration; ``iteration`` is the number of those completed, from 1.

        step_seconds: of the whole iteration; data_seconds: the part of them in which it waited for
        data.
        """
        if not self._active:
            return
        self._iteration = iteration
        self._steps.append((loss, lr, data_seconds, step_seconds))
        if self._terminal:
            self._bar.set_postfix_str(
                f'loss {loss:.4g}, lr {lr:.3g}, step {step_seconds:.2f} s, '
                f'data {data_seconds:.2f} s, {self._used:.0f} MiB',
                refresh=False,
            )
            self._bar.update(iteration - self._bar.n)
        if iteration % self._interval == 0 or iteration == self._last:
            self._end_interval()

    def skipped(self, iteration: int, loss_scale: float):
        """Note an iteration without an update, before its :meth:`step`; told with the interval.

        loss_scale: of the next one.
        """
        if self._active:
            self._skipped.append((iteration, loss_scale))

    def pending(self) -> list[tuple[float, ...]]:
        """The steps of the current interval, for the state of the run: who goes on from there gets
        the mean that a run without a break has.
        """
        return list(self._steps) if self._active else []

    def validation(self, iteration: int, report: Mapping):
        """Note scores as ``engine.evaluation.evaluator`` reports them."""
        if not self._active:
            return
        scores = {f'val/{name}': report[name] for name in ('miou', 'pixel_accuracy')}
        scores |= {f'val/iou/{n}': values['iou'] for n, values in report['classes'].items()}
        with self._writing():
            self._history.validation(iteration, report)
            known = {tag: score for tag, score in scores.items() if score is not None}
            self._events.scalars(iteration, known)
            self._events.flush()
        self.note(
            f'iteration {iteration}/{self._last} | validation mIoU {_percent(report["miou"])} | '
            f'pixel accuracy {_percent(report["pixel_accuracy"])}'
        )

    def pictures(self, iteration: int, pictures: Mapping[str, np.ndarray]):
        """Show pictures, (H, W, 3) ``uint8`` BGR, in TensorBoard."""
        if not self._active:
            return
        with self._writing():
            for name, picture in pictures.items():
                self._events.picture(iteration, f'val/{name}', picture)
            self._events.flush()

    def note(self, text: str):
        """Say something on the console, as its level allows, and in train.log in any case."""
        if not self._active:
            return
        self._append(text)
        LOG.info(text, extra={IN_LOG: True})

    def close(self):
        """End all records, with the iterations since the last interval. Silent where writing has
        failed before, which was told then.
        """
        if not self._active:
            return
        try:
            if self._steps and self._iteration > self._start and not self._failed:
                self._end_interval()
        finally:
            self._active = False
            with suppress(OSError) if self._failed else self._writing():
                self._close_all()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if kind is None:
            self.close()
        else:
            with suppress(UserError):  # the error on its way is the one that matters
                self.close()

    def _end_interval(self):
        """Record the means of the steps since the last time."""
        iteration = self._iteration
        loss, lr, data, step = np.mean(self._steps, axis=0, dtype=np.float64).tolist()
        if self._skipped:
            LOG.warning(
                '%d of the last %d iterations, the latest of them %d, have changed nothing: '
                'gradients overflow in half precision; the loss is now scaled by %g',
                len(self._skipped),
                len(self._steps),
                *self._skipped[-1],
            )
        self._steps, self._skipped = [], []
        self._used = self._memory()
        scalars = {
            'train/loss': loss,
            'train/learning_rate': lr,
            'train/step_seconds': step,
            'train/data_seconds': data,
            'train/memory_mib': self._used,
        }
        with self._writing():
            self._history.interval(iteration, loss, lr)
            self._events.scalars(iteration, scalars)
        text = (
            f'iteration {iteration}/{self._last} | loss {loss:.5g} | lr {lr:.5g} | '
            f'{step:.3f} s/step | data {100 * data / step if step else 0:.0f} % | '
            f'{self._remaining(iteration)} left | {self._used:.0f} MiB'
        )
        if self._terminal:  # the bar shows it
            self._append(text)
        else:
            self.note(text)

    def _remaining(self, iteration: int) -> str:
        """hh:mm:ss at the pace since the start, with all validations and all saving."""
        pace = (time.monotonic() - self._started) / max(1, iteration - self._start)
        minutes, seconds = divmod(round(pace * (self._last - iteration)), 60)
        return f'{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}'

    def _append(self, text: str, level: str = 'INFO'):
        """A line of train.log; further lines of a text are indented."""
        line = f'{time.strftime("%Y-%m-%d %H:%M:%S")} {level} ' + text.replace('\n', '\n    ')
        path = self._folder / LOG_FILE
        with (
            self._writing(),
            open(path, 'a', encoding='utf-8', errors='backslashreplace') as file,
        ):
            file.write(line + '\n')

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Failures to write as ``UserError``, and known to :meth:`close`."""
        try:
            yield
        except OSError as error:
            self._failed = True
            raise UserError(
                f'{self._folder}: cannot be written ({error.strerror or error})'
            ) from error
        except UserError:
            self._failed = True
            raise


class _Handler(logging.Handler):
    """Passes messages on, and errors in doing so to the caller of the logger."""

    def __init__(self, append: Callable[[str, str], None]):
        super().__init__()
        self._append = append

    def emit(self, record: logging.LogRecord):
        if not hasattr(record, IN_LOG):
            self._append(self.format(record), record.levelname)


def _end_last_line(path: Path):
    """End the line that a full disk has cut off."""
    with open(path, 'ab+') as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b'\n':
                file.write(b'\n')


def _peak_memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB on Linux


def _percent(value: float | None) -> str:
    return '-' if value is None else f'{value:.2f} %'
