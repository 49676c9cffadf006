"""Run the training loop: steps, checkpoints, validation, logging and signals.

A state is saved every ``save_interval`` iterations, before a validation, after ``save_minutes``,
and before a signal or an error ends the run. The ranks agree on a save in the messages of a step.
When rank 0 writes the state, all ranks are therefore between the same two iterations.
"""

import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from common.command import DONE, HUNG_UP, INTERRUPTED, TERMINATED
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
from engine.training import bad_samples
from engine.training.best_weights import BestWeights
from engine.training.class_coverage import CropWatch, TaskWatch
from engine.training.divergence import DivergedError
from engine.training.trainer import Trainer
from engine.training.validation import Validation

# mpirun forwards SIGUSR1 and waits; on the other two it kills its processes.
SIGNALS: dict[int, int] = {
    signal.SIGINT: INTERRUPTED,
    signal.SIGTERM: TERMINATED,
    signal.SIGUSR1: TERMINATED,
    signal.SIGHUP: HUNG_UP,  # the terminal was closed, as by a lost SSH connection
}
RANK_0_SAVE_SECONDS = 10  # the other ranks wait, since rank 0 saves if it has the same error


@dataclass(frozen=True)
class RunIdentity:
    """The constant fields of the states of a run.

    Attributes:
        config: The effective config.
        seed: The seed of the run.
        options: The options that change results.
        name: The name of the config that the run started from.
    """

    config: Config
    seed: int
    options: dict[str, str]
    name: str


class TrainingLoop:
    """The loop of a training, with checkpoints, validation, logging and signal handling.

    Args:
        identity: The constant fields of the states.
        trainer: Computes the steps.
        validation: Scores the weights; None to train without validation.
        processes: All processes of the job.
        folder: The run folder.
        logger: The log of the run.
        watchdog: Receives reports of progress.
        saved: The state that the run resumes from, and its iteration.
        watch: Watches the classes in the crops of the first epoch; None for a scanned split.
        best: Facts of the weights in ``best.h5``, if that file exists; see
            :class:`engine.training.best_weights.BestWeights`.
    """

    def __init__(
        self,
        identity: RunIdentity,
        trainer: Trainer,
        validation: Validation | None,
        processes: Processes,
        *,
        folder: RunFolder,
        logger: RunLogger,
        watchdog: Watchdog,
        saved: tuple[Path, int] | None = None,
        best: dict | None = None,
        watch: CropWatch | TaskWatch | None = None,
    ):
        self._identity, self._trainer, self._validation = identity, trainer, validation
        self._processes, self._folder = processes, folder
        self._logger, self._watchdog, self._best = logger, watchdog, BestWeights(best)
        self._watch = watch
        self._versions, self._saved = versions(), saved
        self._saved_at = time.monotonic()
        # The last iteration that is finished and logged, and the last one for which a save in this
        # folder was attempted.
        self._finished = trainer.iteration
        self._save_attempted_at = saved[1] if saved and saved[0] == folder.state else 0
        self._signal: int | None = None
        self._interruptible = False  # whether a signal interrupts at once

    def run(self) -> int:
        """Train to the end, or until a signal, and return the exit status.

        Raises:
            UserError: The run stops; the message names the state that it can resume from.
        """
        before = {number: signal.signal(number, self._note_signal) for number in _handled_signals()}
        try:
            return self._train()
        except KeyboardInterrupt:
            if not self._interruptible:
                raise
            status = self._report_stop()
            if self._processes.size > 1:  # other ranks can be waiting for this one in a validation
                self._processes.abort(status)
            return status
        except Exception as error:
            self._interruptible = False  # a signal must not interrupt saving the state
            advice = '; '.join(
                filter(None, (bad_samples.advice_on(error), self._save_after(error)))
            )
            if advice and isinstance(error, UserError):
                raise UserError(f'{error}; {advice}') from error
            if advice and not isinstance(error, OtherProcessError):
                with suppress(UserError):  # the error can be that train.log cannot be written
                    LOG.warning('%s', advice)
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _train(self) -> int:
        trainer, last = self._trainer, self._trainer.hyperparameters.max_iter
        if trainer.iteration:
            if self._save_attempted_at != trainer.iteration:  # resumed from another folder
                self._save_state()
            self._finish_milestone()
        while trainer.iteration < last:
            step = trainer.step(
                lambda: self._signal is not None,
                self._is_time_to_save,
                self._watchdog.note_progress,
                *((self._watch.see,) if self._watch else ()),
            )
            if self._watch and self._watch.end_iteration(self._processes):
                self._watch = None
            self._watchdog.note_progress(f'iteration {trainer.iteration}')
            if step.skipped:
                self._logger.skipped(trainer.iteration, step.loss_scale)
            self._logger.step(trainer.iteration, *step.logged)
            self._finished = trainer.iteration
            milestone = self._is_milestone(trainer.iteration)
            if milestone or step.save or step.stop:
                self._save_state()
            if step.stop:
                return self._report_stop()
            if milestone:
                self._finish_milestone()
        return DONE

    def _is_time_to_save(self) -> bool:
        return time.monotonic() - self._saved_at >= 60 * self._trainer.hyperparameters.save_minutes

    def _is_milestone(self, iteration: int) -> bool:
        return self._saves_at(iteration) or self._validates_at(iteration)

    def _saves_at(self, iteration: int) -> bool:
        hyperparameters = self._trainer.hyperparameters
        return (
            iteration % hyperparameters.save_interval == 0 or iteration == hyperparameters.max_iter
        )

    def _validates_at(self, iteration: int) -> bool:
        hyperparameters = self._trainer.hyperparameters
        due = iteration % hyperparameters.val_interval == 0 or iteration == hyperparameters.max_iter
        return self._validation is not None and due

    def _finish_milestone(self) -> None:
        """Write weights and validate, if due at this iteration, after its state has been saved.

        A resumed run repeats this, since it can have been interrupted.
        """
        trainer, iteration = self._trainer, self._trainer.iteration
        self._interruptible = True
        if self._signal is not None:  # arrived while the state was being saved
            raise KeyboardInterrupt
        with trainer.averaged_parameters():
            if self._saves_at(iteration) and not self._processes.rank:
                self._folder.save_weights(iteration)
                self._folder.prune(trainer.hyperparameters.keep_checkpoints)
            if self._validation is not None and self._validates_at(iteration):
                self._validate(iteration, self._validation)
            if iteration == trainer.hyperparameters.max_iter and not self._processes.rank:
                LOG.info('%s: the trained weights', self._folder.save_final())
        self._interruptible = False
        self._watchdog.note_progress(f'saving and validation at iteration {iteration}')

    def _validate(self, iteration: int, validation: Validation) -> None:
        LOG.info('iteration %d: validating on %d images', iteration, len(validation.dataset))
        self._trainer.broadcast_parameters()
        report, pictures = validation.run(self._processes, self._watchdog)
        averaged = 'averaged ' if self._identity.config.get('ema_decay') else ''
        origin = validation.origin(f'{averaged}weights of iteration {iteration}')
        report |= {'settings': origin.facts(), 'origin': origin.line(report['images'])}
        self._logger.validation(iteration, report)
        self._logger.pictures(iteration, pictures)
        if self._best.is_beaten(report, iteration) and not self._processes.rank:
            self._folder.save_best()

    def _save_state(self) -> None:
        """Let rank 0 write the state; all ranks wait, since a rank that exits ends the job."""
        self._save_attempted_at = self._trainer.iteration
        if not self._processes.rank:
            checkpoints.save(self._folder.state, self._state())
        self._processes.gather(None)
        self._saved, self._saved_at = (
            (self._folder.state, self._save_attempted_at),
            time.monotonic(),
        )

    def _state(self) -> TrainingState:
        return TrainingState(
            **self._trainer.state(),
            best=self._best.facts,
            seed=self._identity.seed,
            config=dict(self._identity.config),
            processes=self._processes.size,
            options=self._identity.options,
            versions=self._versions,
            name=self._identity.name,
            extras=self._logger.state(),
            scaled=True,
        )

    def _save_after(self, error: Exception) -> str:
        """Let rank 0 save the last finished iteration after an error, if that is still possible.

        An iteration whose state was already saved, or failed to save, is not saved again. If only
        some ranks know of the error, the others can be waiting in the step. The ranks then exchange
        no messages.

        Returns:
            Which state is saved, and how to continue from it; empty if there is no advice.
        """
        # The weights before a diverged iteration diverge again at any learning rate. The good state
        # is the older one in the folder.
        diverged = isinstance(error, DivergedError)
        problem, due = None, self._save_attempted_at != self._finished and not diverged
        if due and not self._processes.rank:
            try:
                if self._trainer.roll_back() and self._trainer.iteration == self._finished:
                    checkpoints.save(self._folder.state, self._state())
                    self._saved = self._folder.state, self._finished
                else:
                    problem = f'iteration {self._finished} can no longer be saved'
            except (
                UserError,
                MemoryError,
                RuntimeError,
            ) as failure:  # the original error is raised
                reason = ' '.join(str(failure).split()) or type(failure).__name__
                problem = f'iteration {self._finished} cannot be saved ({reason})'
        if self._trainer.ranks_in_sync:
            self._saved, problem = self._processes.gather((self._saved, problem))[0]
        elif due and self._processes.rank:
            time.sleep(RANK_0_SAVE_SECONDS)
        return '; '.join(filter(None, (problem, self._describe_saved(error))))

    def _describe_saved(self, error: Exception) -> str:
        """Return which state is saved, and how to continue from it."""
        diverged = isinstance(error, DivergedError)
        if self._saved is None:
            return 'nothing is saved yet; a lower lr may help' if diverged else ''
        path, iteration = self._saved
        if not diverged:
            return f'iteration {iteration} is saved in {path}; --resume continues from it'
        advice = (
            f'the last good state, of iteration {iteration}, is {path}: with a lower lr, --resume '
            '--allow-changes continues from it'
        )
        latest = self._folder.latest()
        return f'{advice}; the latest weights are {latest}' if latest else advice

    def _note_signal(self, number: int, frame: FrameType | None) -> None:
        """Stop training after the present step; a second signal interrupts at once.

        Saving weights and validation are interrupted by the first signal. A closed terminal sends
        SIGHUP several times, and some systems SIGTERM with it, so a second signal counts only if
        neither is SIGHUP. Python may call this method again while it runs.
        """
        hung_up = number == signal.SIGHUP
        if hung_up and self._signal is not None:
            return
        again = self._signal not in (None, signal.SIGHUP) and not hung_up
        self._signal = number
        if again or self._interruptible:
            raise KeyboardInterrupt

    def _report_stop(self) -> int:
        """Log a stop by a signal, and return the exit status."""
        if not self._processes.rank:
            LOG.warning(
                'stopped after iteration %d, which is saved; --resume continues from it',
                self._trainer.iteration,
            )
        return INTERRUPTED if self._signal is None else SIGNALS[self._signal]


def _handled_signals() -> list[int]:
    """Return the signals that end a run; under ``nohup`` a closed terminal does not."""
    ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [number for number in SIGNALS if not (number == signal.SIGHUP and ignored)]
