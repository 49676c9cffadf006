"""Run the training loop: steps, and between them saving, validation, logging and signals.

A state is saved every ``save_interval`` iterations, after ``save_minutes``, when a signal ends the
run, and before an error does. The processes agree on each of these in the messages of a step, so
that all are between the same two iterations when rank 0 writes.
"""

import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from common.command import DONE, INTERRUPTED, TERMINATED
from common.errors import UserError
from common.log import LOG
from common.machine import versions
from engine.config import Config
from engine.distributed.processes import OtherProcessError, Processes
from engine.distributed.watchdog import Watchdog
from engine.runs import checkpoints
from engine.runs.checkpoints import TrainingState
from engine.runs.logger import RunLogger
from engine.runs.run_folder import RunFolder
from engine.training.divergence import DivergedError
from engine.training.trainer import Trainer
from engine.training.validation import Validation

# mpirun passes SIGUSR1 on and waits; after the other two it kills its processes.
SIGNALS: dict[int, int] = {
    signal.SIGINT: INTERRUPTED,
    signal.SIGTERM: TERMINATED,
    signal.SIGUSR1: TERMINATED,
}
SAVING_SECONDS = 10  # that a rank leaves to rank 0, which may have the same error, to save


@dataclass(frozen=True)
class Origin:
    """What a run is made from; the fields of its states that do not change."""

    config: Config
    seed: int
    options: dict[str, str]


class TrainingLoop:
    """The loop of a training, and what happens around it.

    saved: the state that the run goes on from, and its iteration. best: score and iteration of the
    weights in the folder's best file, if there is one.
    """

    def __init__(
        self,
        origin: Origin,
        trainer: Trainer,
        validation: Validation | None,
        processes: Processes,
        *,
        folder: RunFolder,
        logger: RunLogger,
        watchdog: Watchdog,
        saved: tuple[Path, int] | None = None,
        best: dict | None = None,
    ):
        self._origin, self._trainer, self._validation = origin, trainer, validation
        self._processes, self._folder = processes, folder
        self._logger, self._watchdog, self._best = logger, watchdog, best
        self._versions, self._saved = versions(), saved
        self._saved_at = time.monotonic()
        # Iterations: the last finished and recorded one; the last one that was to be saved here.
        self._finished = trainer.iteration
        self._tried = saved[1] if saved and saved[0] == folder.state else 0
        self._signal: int | None = None
        self._interruptible = False  # whether a signal ends at once what is being done

    def run(self) -> int:
        """Train to the end, or until a signal; returns the exit status."""
        before = {number: signal.signal(number, self._note_signal) for number in SIGNALS}
        try:
            return self._train()
        except KeyboardInterrupt:
            if not self._interruptible:
                raise
            status = self._stopped()
            if self._processes.size > 1:  # the others may wait for this one in what is due
                self._processes.abort(status)
            return status
        except Exception as error:
            self._interruptible = False  # a signal does not keep the state from being saved
            told = self._save_before_the_end(error)
            if told and isinstance(error, UserError):
                raise UserError(f'{error}; {told}') from error
            if told and not isinstance(error, OtherProcessError):
                with suppress(UserError):  # train.log may be what cannot be written
                    LOG.warning('%s', told)
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _train(self) -> int:
        trainer, last = self._trainer, self._trainer.recipe.max_iter
        if trainer.iteration:
            if self._tried != trainer.iteration:  # the state is another folder's
                self._save_state()
            self._finish_milestone()
        while trainer.iteration < last:
            step = trainer.step(
                lambda: self._signal is not None,
                self._is_time_to_save,
                self._watchdog.note_progress,
            )
            self._watchdog.note_progress(f'iteration {trainer.iteration}')
            if step.skipped:
                self._logger.skipped(trainer.iteration, step.loss_scale)
            self._logger.step(
                trainer.iteration, step.loss, step.rate, step.data_seconds, step.seconds
            )
            self._finished = trainer.iteration
            milestone = self._is_milestone(trainer.iteration)
            if milestone or step.save or step.stop:
                self._save_state()
            if step.stop:
                return self._stopped()
            if milestone:
                self._finish_milestone()
        return DONE

    def _is_time_to_save(self) -> bool:
        return time.monotonic() - self._saved_at >= 60 * self._trainer.recipe.save_minutes

    def _is_milestone(self, iteration: int) -> bool:
        return self._saves_at(iteration) or self._validates_at(iteration)

    def _saves_at(self, iteration: int) -> bool:
        recipe = self._trainer.recipe
        return iteration % recipe.save_interval == 0 or iteration == recipe.max_iter

    def _validates_at(self, iteration: int) -> bool:
        recipe = self._trainer.recipe
        due = iteration % recipe.val_interval == 0 or iteration == recipe.max_iter
        return self._validation is not None and due

    def _finish_milestone(self) -> None:
        """What is due at this iteration after the state has been saved; done again on resuming, as
        it may not have come to an end.
        """
        trainer, iteration = self._trainer, self._trainer.iteration
        self._interruptible = True
        if self._signal is not None:  # came while the state was being saved
            raise KeyboardInterrupt
        with trainer.evaluated():
            if self._saves_at(iteration) and not self._processes.rank:
                self._folder.save_weights(iteration)
                self._folder.prune(trainer.recipe.keep_checkpoints)
            if self._validation is not None and self._validates_at(iteration):
                self._validate(iteration, self._validation)
            if iteration == trainer.recipe.max_iter and not self._processes.rank:
                LOG.info('%s: the trained weights', self._folder.save_final())
        self._interruptible = False
        self._watchdog.note_progress(f'what was due at iteration {iteration}')

    def _validate(self, iteration: int, validation: Validation) -> None:
        self._trainer.agree()
        report, pictures = validation.run(self._processes, self._watchdog)
        self._logger.validation(iteration, report)
        self._logger.pictures(iteration, pictures)
        if self._best is None or (report['miou'] or 0) > self._best['miou']:
            if not self._processes.rank:
                self._folder.save_best()
            self._best = {'miou': report['miou'] or 0, 'iteration': iteration}

    def _save_state(self) -> None:
        """Write the state: rank 0 does, and all wait for it, as whoever ends first ends all."""
        self._tried = self._trainer.iteration
        if not self._processes.rank:
            checkpoints.save(self._folder.state, self._state())
        self._processes.gather(None)
        self._saved, self._saved_at = (self._folder.state, self._tried), time.monotonic()

    def _state(self) -> TrainingState:
        return TrainingState(
            **self._trainer.state(),
            best=self._best,
            seed=self._origin.seed,
            config=dict(self._origin.config),
            processes=self._processes.size,
            options=self._origin.options,
            versions=self._versions,
            name=self._origin.config.name,
            extras={'pending': self._logger.pending()},
            scaled=True,
        )

    def _save_before_the_end(self, error: Exception) -> str:
        """Save the last finished iteration, unless that has been tried before, as far as the error
        lets rank 0 do so; returns what is saved, and what to do with it.

        Where not all processes know of the error, the others may wait in the step for this one, so
        no message is exchanged.
        """
        # What diverges in an iteration does so again from the weights before it, at any rate: the
        # good state is the older one in the folder.
        diverged = isinstance(error, DivergedError)
        problem, due = None, self._tried != self._finished and not diverged
        if due and not self._processes.rank:
            try:
                if self._trainer.restore() and self._trainer.iteration == self._finished:
                    checkpoints.save(self._folder.state, self._state())
                    self._saved = self._folder.state, self._finished
                else:
                    problem = f'iteration {self._finished} cannot be saved any more'
            except (UserError, MemoryError, RuntimeError) as failure:  # the first error is raised
                reason = ' '.join(str(failure).split()) or type(failure).__name__
                problem = f'iteration {self._finished} cannot be saved ({reason})'
        if self._trainer.together:
            self._saved, problem = self._processes.gather((self._saved, problem))[0]
        elif due and self._processes.rank:
            time.sleep(SAVING_SECONDS)
        return '; '.join(filter(None, (problem, self._what_is_saved(error))))

    def _what_is_saved(self, error: Exception) -> str:
        diverged = isinstance(error, DivergedError)
        if self._saved is None:
            return 'nothing is saved yet; a lower lr may help' if diverged else ''
        path, iteration = self._saved
        if not diverged:
            return f'iteration {iteration} is saved in {path}; --resume goes on from there'
        advice = (
            f'the last good state, of iteration {iteration}, is {path}: with a lower lr, --resume '
            '--allow-changes goes on from it'
        )
        latest = self._folder.latest()
        return f'{advice}; the latest weights are {latest}' if latest else advice

    def _note_signal(self, number: int, frame: FrameType | None) -> None:
        """The first signal ends training after the step, and what is done besides at once."""
        again, self._signal = self._signal is not None, number
        if again or self._interruptible:
            raise KeyboardInterrupt

    def _stopped(self) -> int:
        if not self._processes.rank:
            LOG.warning(
                'stopped after iteration %d, which is saved; --resume goes on from there',
                self._trainer.iteration,
            )
        return INTERRUPTED if self._signal is None else SIGNALS[self._signal]
