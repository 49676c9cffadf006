"""The life of a run: steps, and between them what is saved, scored and told; signals; the end."""

import signal
from dataclasses import dataclass

from common.command import DONE, INTERRUPTED, TERMINATED
from common.log import LOG
from common.machine import versions
from engine.config import Config
from engine.distributed.processes import Processes
from engine.distributed.watchdog import Watchdog
from engine.lifeboat import Lifeboat
from engine.runs import checkpoints
from engine.runs.checkpoints import TrainingState
from engine.runs.logger import Journal
from engine.runs.run_folder import RunFolder
from engine.training.trainer import DivergedError, Trainer
from engine.training.validation import Validation

# mpirun passes SIGUSR1 on and waits; after the other two it kills its processes.
SIGNALS = {
    signal.SIGINT: INTERRUPTED,
    signal.SIGTERM: TERMINATED,
    signal.SIGUSR1: TERMINATED,
}


@dataclass(frozen=True)
class Origin:
    """What a run is made from; the fields of its states that do not change."""

    config: Config
    seed: int
    options: dict[str, str]


class Life:
    """The loop of a training, and what happens around it.

    best: score and iteration of the weights in the folder's best file, if there is one.
    """

    def __init__(
        self,
        origin: Origin,
        trainer: Trainer,
        validation: Validation | None,
        processes: Processes,
        *,
        folder: RunFolder,
        journal: Journal,
        watchdog: Watchdog,
        lifeboat: Lifeboat,
        best: dict | None = None,
    ):
        self._origin, self._trainer, self._validation = origin, trainer, validation
        self._processes, self._folder = processes, folder
        self._journal, self._watchdog, self._best = journal, watchdog, best
        self._lifeboat, self._versions = lifeboat, versions()
        self._signal = None
        self._interruptible = False  # whether a signal ends at once what is being done

    def live(self) -> int:
        """Train to the end, or until a signal; returns the exit status."""
        before = {number: signal.signal(number, self._note_signal) for number in SIGNALS}
        try:
            with self._lifeboat:
                return self._train()
        except KeyboardInterrupt:
            if not self._interruptible:
                raise
            status = self._stopped()
            if self._processes.size > 1:  # the others may wait for this one in what is due
                self._processes.leave(status)
            return status
        except DivergedError as error:
            raise DivergedError(f'{error}; {self._what_is_good()}') from error
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _train(self) -> int:
        trainer, last = self._trainer, self._trainer.recipe.max_iter
        if trainer.iteration:
            self._finish_milestone()
        while trainer.iteration < last:
            step = trainer.step(
                lambda: self._signal is not None, self._watchdog.moved, self._lifeboat.withdraw
            )
            self._watchdog.moved(f'iteration {trainer.iteration}')
            if step.skipped:
                self._journal.skipped(trainer.iteration, step.loss_scale)
            self._journal.step(
                trainer.iteration, step.loss, step.rate, step.data_seconds, step.seconds
            )
            self._lifeboat.offer(lambda: self._state(trainer.live_state()))
            milestone = self._is_milestone(trainer.iteration)
            if milestone or step.stop:
                self._save_state()
            if step.stop:
                return self._stopped()
            if milestone:
                self._finish_milestone()
        return DONE

    def _what_is_good(self) -> str:
        """What is left of a run that has diverged, and what to do with it."""
        parts, latest = [], self._folder.latest()
        if latest is not None:
            parts.append(f'the last good weights are {latest}')
        if self._folder.state.exists():
            parts.append(f'the last good state is {self._folder.state}')
            parts.append('with a lower lr, --resume --allow-changes goes on from it')
        return '; '.join(parts) or 'no weights yet; a lower lr may help'

    def _is_milestone(self, iteration: int) -> bool:
        return self._saves_at(iteration) or self._validates_at(iteration)

    def _saves_at(self, iteration: int) -> bool:
        recipe = self._trainer.recipe
        return iteration % recipe.save_interval == 0 or iteration == recipe.max_iter

    def _validates_at(self, iteration: int) -> bool:
        recipe = self._trainer.recipe
        due = iteration % recipe.val_interval == 0 or iteration == recipe.max_iter
        return self._validation is not None and due

    def _finish_milestone(self):
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
            if self._validates_at(iteration):
                self._validate(iteration)
            if iteration == trainer.recipe.max_iter and not self._processes.rank:
                LOG.info('%s: the trained weights', self._folder.save_final())
        self._interruptible = False
        self._watchdog.moved(f'what was due at iteration {iteration}')

    def _validate(self, iteration: int):
        self._trainer.agree()
        report, pictures = self._validation.run(self._processes, self._watchdog)
        self._journal.validation(iteration, report)
        self._journal.pictures(iteration, pictures)
        if self._best is None or (report['miou'] or 0) > self._best['miou']:
            self._best = {'miou': report['miou'] or 0, 'iteration': iteration}
            if not self._processes.rank:
                self._folder.save_best()

    def _save_state(self):
        """Write the state; all ranks check that it is worth it, rank 0 writes, all wait for it."""
        parts = self._trainer.state()
        if not self._processes.rank:
            self._lifeboat.wait()
            checkpoints.save(self._folder.state, self._state(parts))
            self._lifeboat.saved()  # only now: to be killed while writing is no loss
        self._processes.gather(None)  # whoever leaves first ends the others

    def _state(self, parts: dict) -> TrainingState:
        """parts: the trainer's."""
        return TrainingState(
            **parts,
            best=self._best,
            seed=self._origin.seed,
            config=dict(self._origin.config),
            processes=self._processes.size,
            options=self._origin.options,
            versions=self._versions,
            name=self._origin.config.name,
            extras={'pending': self._journal.pending()},
            scaled=True,
        )

    def _note_signal(self, number, frame):
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
        return SIGNALS.get(self._signal, INTERRUPTED)
