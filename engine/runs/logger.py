"""Log a training run: progress, train.log, series, TensorBoard events and validation scores.

with RunLogger(folder, log_interval=100, max_iter=80000, active=rank == 0) as logger:
    logger.step(1, loss, lr, data_seconds, step_seconds)
    logger.validation(8000, report)
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from tqdm.contrib.logging import logging_redirect_tqdm

from common.errors import UserError
from common.log import LOG
from common.terminal.printable import printable
from common.terminal.progress import ProgressBar
from engine.runs import validation_scores
from engine.runs.interval import Interval
from engine.runs.log_file import (
    ALREADY_LOGGED,
    LOG_FILE,
    LogHandler,
    end_last_line,
    peak_memory_mib,
)
from engine.runs.series import RunSeries
from engine.runs.tensorboard import EventWriter


class RunLogger:
    """A writer of all records of a run. One process writes; the others pass ``active=False``.

    train.log contains one line per interval and all messages of the project's logger.
    :mod:`engine.runs.series` and TensorBoard store the numbers. If standard error is a terminal,
    the console shows a progress bar, otherwise the lines of train.log.

    Args:
        folder: Folder of the run.
        log_interval: Number of iterations over which values are averaged.
        max_iter: Number of iterations of the whole run.
        active: Whether to log; an inactive logger does nothing.
        start_iteration: Number of iterations that the run has completed before. Records of later
            iterations are dropped, because a resumed run repeats these iterations.
        tasks: Names of the tasks; () for a network of one.
        pending: Result of :meth:`pending` at ``start_iteration``.
        pending_tasks: Result of :meth:`pending_tasks` at ``start_iteration``.
        seconds: Result of :meth:`seconds` at ``start_iteration``.
        memory: Function that returns the memory in use in MiB; by default this process's peak
            memory.

    Raises:
        UserError: The folder cannot be written. All methods raise it as well, and so do messages
            to the project's logger.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        log_interval: int,
        max_iter: int,
        active: bool,
        start_iteration: int = 0,
        tasks: Sequence[str] = (),
        pending: Sequence[Sequence[float]] = (),
        pending_tasks: Sequence[Sequence[float]] = (),
        seconds: float = 0,
        memory: Callable[[], float] | None = None,
    ):
        self._active, self._failed = active, False
        if not active:
            return
        self._folder = Path(folder)
        self._interval, self._last, self._start = log_interval, max_iter, start_iteration
        self._memory = memory or peak_memory_mib
        self._used = self._memory()  # queried once per interval, because a GPU can answer slowly
        self._means = Interval(tasks, pending, pending_tasks)
        self._skipped: list[tuple[int, float]] = []
        self._iteration = start_iteration
        self._started = time.monotonic()
        self._terminal = sys.stderr.isatty()
        with self._writing(), ExitStack() as stack:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._history = RunSeries(
                self._folder, start_iteration, start_iteration - len(pending), seconds, tasks
            )
            self._events = EventWriter(self._folder, start_iteration)
            stack.callback(self._events.close)
            end_last_line(self._folder / LOG_FILE)
            handler = LogHandler(self._append)
            LOG.addHandler(handler)
            stack.callback(LOG.removeHandler, handler)
            self._bar = stack.enter_context(
                ProgressBar(
                    total=max_iter,
                    initial=start_iteration,
                    bar_format='{n_fmt}/{total_fmt} |{bar:10}| {elapsed}<{remaining}{postfix}',
                    dynamic_ncols=True,
                    disable=not self._terminal,
                )
            )
            if self._terminal:  # prints messages above the bar
                stack.enter_context(logging_redirect_tqdm(tqdm_class=ProgressBar))
            self._close_all = stack.pop_all().close

    def step(
        self,
        iteration: int,
        loss: float,
        lr: float,
        data_seconds: float,
        step_seconds: float,
        task_losses: Mapping[str, float] = MappingProxyType({}),
        task_scales: Mapping[str, float] = MappingProxyType({}),
    ):
        """Record one iteration.

        Args:
            iteration: Number of completed iterations, from 1.
            loss: Training loss.
            lr: Learning rate.
            data_seconds: Seconds of the iteration spent waiting for data.
            step_seconds: Seconds of the whole iteration.
            task_losses: The loss of each task by name; empty for one task.
            task_scales: The scale of each task by name, if they are learned.
        """
        if not self._active:
            return
        self._iteration = iteration
        self._means.add((loss, lr, data_seconds, step_seconds), task_losses, task_scales)
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
        """Record an iteration without an update of the parameters; call :meth:`step` afterwards.

        A warning is logged at the end of the interval.

        Args:
            iteration: Number of the iteration.
            loss_scale: Loss scale of the next iteration.
        """
        if self._active:
            self._skipped.append((iteration, loss_scale))

    def pending(self) -> list[tuple[float, ...]]:
        """Return the steps of the current interval, for the checkpoint.

        A resumed run that gets these steps logs the same mean as an uninterrupted one.
        """
        return list(self._means.steps) if self._active else []

    def pending_tasks(self) -> list[tuple[float, ...]]:
        """Return the losses of the tasks in the steps of :meth:`pending`."""
        return list(self._means.task_losses) if self._active else []

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs of the log, as the ``extras`` of a state."""
        tasks = self.pending_tasks()
        return {
            'pending': self.pending(),
            **({'pending_tasks': tasks} if tasks else {}),
            'seconds': self.seconds(),
        }

    def seconds(self) -> float:
        """Return the seconds that the run has taken so far, for the checkpoint."""
        return self._history.seconds() if self._active else 0

    def validation(self, iteration: int, report: Mapping):
        """Record the scores of a validation.

        Args:
            iteration: Number of completed iterations.
            report: Report of ``engine.evaluation``; ``origin``, if it is there, says what was
                scored.
        """
        if not self._active:
            return
        with self._writing():
            self._history.validation(iteration, report)
            self._events.scalars(iteration, validation_scores.scalars_of(report))
            self._events.flush()
        self.note(
            f'iteration {iteration}/{self._last} | validation {validation_scores.words_of(report)}'
            + (f' | {report["origin"]}' if 'origin' in report else '')
        )

    def pictures(self, iteration: int, pictures: Mapping[str, np.ndarray]):
        """Write pictures to TensorBoard.

        Args:
            iteration: Number of completed iterations.
            pictures: (H, W, 3) uint8, BGR, by name.
        """
        if not self._active:
            return
        with self._writing():
            for name, picture in pictures.items():
                self._events.picture(iteration, f'val/{name}', picture)
            self._events.flush()

    def note(self, text: str):
        """Log a message to train.log, and to the console if the logger's level allows it."""
        if not self._active:
            return
        self._append(text)
        LOG.info(text, extra={ALREADY_LOGGED: True})

    def close(self):
        """Record the iterations since the last interval and close all files.

        Failures are ignored if an earlier write has failed, because that failure was reported.
        """
        if not self._active:
            return
        try:
            if self._means.steps and self._iteration > self._start and not self._failed:
                self._end_interval()
            if not self._failed:
                with self._writing():
                    self._history.extend_time()
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
            with suppress(UserError):  # the pending exception matters more
                self.close()

    def _end_interval(self):
        """Record the means of the steps since the last interval."""
        iteration = self._iteration
        count, means = len(self._means.steps), self._means.take_means()
        data, step = means.data_seconds, means.step_seconds
        if self._skipped:
            LOG.warning(
                '%d of the last %d iterations, most recently %d, were skipped: '
                'gradients overflowed in half precision; the loss scale is now %g',
                len(self._skipped),
                count,
                *self._skipped[-1],
            )
        self._skipped = []
        self._used = self._memory()
        scalars = {
            'train/loss': means.loss,
            'train/learning_rate': means.rate,
            'train/step_seconds': step,
            'train/data_seconds': data,
            'train/memory_mib': self._used,
            **{f'train/loss/{name}': loss for name, loss in means.task_losses.items()},
            **{f'train/scale/{name}': scale for name, scale in means.task_scales.items()},
        }
        with self._writing():
            self._history.interval(iteration, means.loss, means.rate, means.task_losses)
            self._events.scalars(iteration, scalars)
        text = (
            f'iteration {iteration}/{self._last} | loss {means.loss:.5g}{means.words()} | '
            f'lr {means.rate:.5g} | '
            f'{step:.3f} s/step | data {100 * data / step if step else 0:.0f} % | '
            f'{self._remaining(iteration)} left | {self._used:.0f} MiB'
        )
        if self._terminal:  # the bar shows the same numbers
            self._append(text)
        else:
            self.note(text)

    def _remaining(self, iteration: int) -> str:
        """Estimate the remaining time, hh:mm:ss; the pace includes validation and saving."""
        pace = (time.monotonic() - self._started) / max(1, iteration - self._start)
        minutes, seconds = divmod(round(pace * (self._last - iteration)), 60)
        return f'{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}'

    def _append(self, text: str, level: str = 'INFO'):
        """Append a message to train.log, with all lines but the first indented."""
        text = printable(text).replace('\n', '\n    ')
        line = f'{time.strftime("%Y-%m-%d %H:%M:%S")} {level} {text}'
        path = self._folder / LOG_FILE
        with (
            self._writing(),
            open(path, 'a', encoding='utf-8', errors='backslashreplace') as file,
        ):
            file.write(line + '\n')

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Convert write failures to ``UserError``, and remember them for :meth:`close`."""
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
