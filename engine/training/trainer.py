"""Compute the updates of a training, one step after the other.

    trainer = Trainer(
        network, criterion, solver, hyperparameters, loader, processes, communicator, seed=0
    )
    while trainer.iteration < hyperparameters.max_iter:
        step = trainer.step()

Losses and gradients summed over micro-batches and processes equal those of one process with one
large batch. Every micro-batch divides by the same totals, which the processes count in all labels
before the forward pass.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import reduce

import nnabla as nn
import numpy as np

from common.errors import UserError
from engine.distributed.communicators import SingleProcessCommunicator
from engine.distributed.processes import OtherProcessError, Processes
from engine.runs.checkpoints import TrainingState
from engine.training import divergence, passes
from engine.training.divergence import DivergedError
from engine.training.hyperparameters import Hyperparameters
from engine.training.losses import TaskCriterion
from engine.training.optimizer import SolverKeys
from engine.training.passes import PassSums
from engine.training.running_statistics import RunningStatistics
from engine.training.step import BatchSource, BatchTargets, Step, StepInput, StepSnapshot
from engine.training.trained_parameters import trainable
from engine.training.training_graphs import AnyCriterion, TrainingGraphs
from engine.training.weight_update import WeightUpdate
from layers.build import on_gpu
from models import Network

GPU_CHECK_ITERATIONS = 100  # iterations between two checks of all parameters on a GPU


class Trainer:
    """A trainer of a network whose parameters are registered and equal on all processes.

    Args:
        network: The network.
        criterion: The training loss.
        solver: The solver's keys, with :func:`engine.training.optimizer.momentum_form` applied.
        hyperparameters: Length, learning rates and batch size.
        loader: Provides the batches of this process.
        processes: All processes of the job.
        communicator: Exchanges arrays between the processes.
        seed: Seed of dropout.
        half: Whether the default context computes in half precision.
        frozen: Patterns of the names of parameters that are not trained.
        build: Further fields of :class:`layers.build.Build`.

    Attributes:
        hyperparameters: Length, learning rates and batch size.
        loader: Provides the batches of this process.
        iteration: The number of finished iterations.
        ranks_in_sync: After an exception of :meth:`step`, whether the same cause has made all
            processes leave the step at the same place. Otherwise other processes can still be in
            the step.

    Raises:
        UserError: A pattern matches no parameter, no parameter is left to train, or the scales of
            tasks cannot be learned.
    """

    def __init__(
        self,
        network: Network,
        criterion: AnyCriterion,
        solver: SolverKeys,
        hyperparameters: Hyperparameters,
        loader: BatchSource,
        processes: Processes,
        communicator: SingleProcessCommunicator,
        *,
        seed: int,
        half: bool = False,
        frozen: Sequence[str] = (),
        build: Mapping | None = None,
    ):
        self.hyperparameters, self.loader, self.iteration = hyperparameters, loader, 0
        self._processes, self._communicator, self._seed = processes, communicator, seed
        parameters = trainable(frozen)
        self._weights = WeightUpdate(parameters, solver, hyperparameters.weight_decay, half)
        self._tasks = criterion if isinstance(criterion, TaskCriterion) else None
        self._graphs = TrainingGraphs(
            network,
            criterion,
            parameters,
            communicator,
            {'frozen': tuple(frozen), **(build or {})},
        )
        self._statistics = RunningStatistics()
        self.ranks_in_sync = False
        self._snapshot: StepSnapshot | None = None  # of an unfinished step, else None

    def step(
        self,
        should_stop: Callable[[], bool] = lambda: False,
        should_save: Callable[[], bool] = lambda: False,
        on_progress: Callable[[str], None] = lambda activity: None,
        on_targets: Callable[[BatchTargets], None] = lambda targets: None,
    ) -> Step:
        """Train on the next batches; all of them are loaded before the first forward pass.

        Args:
            should_stop: Called before the update; returns whether this process requests all to stop
                after it.
            should_save: Called before the update; returns whether this process requests to save the
                state after it.
            on_progress: Called with a description of each load and each backward pass.
            on_targets: Called with the targets of each batch.

        Raises:
            DivergedError: Loss, gradients or parameters are not finite; the message names the files
                of the batches. Loss and gradients are checked before the update, which is then
                omitted. Parameters are checked after every update on a CPU, after every 100th on a
                GPU: NNabla's ReLU turns NaN into 0, so the loss can be finite although weights are
                not.
            OtherProcessError: Another process cannot load its batches.
            Exception: The error of the loader, if this process cannot load its batches.
        """
        started = time.perf_counter()
        self.ranks_in_sync = False
        snapshot = StepSnapshot(
            self.iteration, self.loader.state_dict(), self._weights.loss_scale.state()
        )
        self._snapshot = snapshot
        batches = self._load(on_progress)
        for _, targets in batches.batches:
            on_targets(targets)
        rate = self.hyperparameters.rate(self.iteration)
        sums = self._compute_gradients(batches, snapshot, on_progress)
        numbers = np.array([sums.loss, should_stop(), should_save()])
        total, stops, saves = self._communicator.total(numbers)
        if not np.isfinite(total):
            self.ranks_in_sync = True
            raise DivergedError(
                divergence.describe_loss(
                    self.iteration + 1, sums.loss, batches.files, self._processes, self._names(sums)
                )
            )
        try:
            updated = self._weights.update(rate, self.iteration + 1)
            task_losses = self._adapt_tasks(sums, updated)
            self.iteration += 1
            if not on_gpu() or self.iteration % GPU_CHECK_ITERATIONS == 0:
                divergence.check_parameters(self.iteration)
        except DivergedError as error:
            # Gradients are the same on all processes, running statistics can differ.
            self.ranks_in_sync = self.iteration == snapshot.iteration
            where = 'on' if self._processes.size == 1 else f'{self._processes} had'
            raise DivergedError(
                f'{error} ({where} {", ".join(map(str, batches.files))})'
            ) from error
        self._snapshot, self._weights.changing = None, False
        return Step(
            float(total),
            rate,
            batches.seconds,
            time.perf_counter() - started,
            stop=stops > 0,
            save=saves > 0,
            skipped=not updated,
            loss_scale=self._weights.loss_scale.factor,
            **task_losses,
        )

    def loss(self, shape: tuple[int, ...]) -> nn.Variable:
        """Return the loss for images of ``shape`` (N, C, H, W), as a new graph."""
        _, objective, _ = self._graphs.build_objective(shape)
        return objective.loss

    def averaged_parameters(self) -> AbstractContextManager[None]:
        """Return a context in which the moving averages, if there are any, are the parameters."""
        return self._weights.averaged()

    def broadcast_parameters(self) -> None:
        """Copy the parameters of rank 0 to all ranks, whose running statistics can differ."""
        self._communicator.broadcast(nn.get_parameters(grad_only=False))

    def roll_back(self) -> bool:
        """Undo the changes of a step that raised an error.

        Returns:
            Whether :meth:`state` is now that of the last finished iteration: False if the step has
            already started to change weights.
        """
        if self._weights.changing:
            return False
        if self._snapshot is not None:
            self.iteration = self._snapshot.iteration
            self._weights.loss_scale.load_state(self._snapshot.loss_scale)
            if self._snapshot.statistics is not None:
                self._statistics.write(self._snapshot.statistics.data)
        return True

    def state(self) -> dict:
        """Return the state as fields of :class:`engine.runs.checkpoints.TrainingState`.

        Raises:
            DivergedError: A parameter is not finite.
        """
        divergence.check_parameters(self.iteration)
        everything = nn.get_parameters(grad_only=False)
        return {
            'iteration': self.iteration,
            'parameters': {name: p.data.get_data('r').copy() for name, p in everything.items()},
            **self._weights.state(),
            'loader': self._snapshot.position if self._snapshot else self.loader.state_dict(),
            'task_scales': self._tasks.scales.state() if self._tasks else None,
        }

    def load_state(self, state: TrainingState) -> None:
        """Restore a state, except for the position of the loader.

        Raises:
            UserError: The state does not fit; a part of it can already be loaded.
        """
        everything = nn.get_parameters(grad_only=False)
        if {n: p.shape for n, p in everything.items()} != {
            name: array.shape for name, array in state.parameters.items()
        }:
            raise UserError('the state belongs to another network')
        for name, array in state.parameters.items():
            if array.dtype.kind != 'f':
                raise UserError(f'the parameter {name} has type {array.dtype}, not float32')
        for name, parameter in everything.items():
            parameter.d = state.parameters[name]
        self._weights.load_state(state)
        if self._tasks:
            self._tasks.scales.load_state(state.task_scales)
        self.iteration = state.iteration

    def _load(self, on_progress: Callable[[str], None]) -> StepInput:
        """Load the batches of a step.

        Raises:
            OtherProcessError: Another process cannot load its batches.
            Exception: The error of the loader, if this process cannot load its batches.
        """
        name, loaded, failure = f'iteration {self.iteration + 1}', None, None
        try:
            loaded = passes.load_batches(
                self.loader,
                self.hyperparameters.accumulation,
                self._graphs,
                lambda number: on_progress(f'{name}, batch {number}, loaded'),
            )
        except Exception as error:  # reported below, so that no other process waits for this one
            failure = error
        self.ranks_in_sync = True
        orders = [graph.order for graph in loaded.graphs] if loaded else None
        if not self._communicator.all_are_ready(orders) or loaded is None:
            raise failure or OtherProcessError('another process cannot load its batches')
        self.ranks_in_sync = False
        return loaded

    def _compute_gradients(
        self, loaded: StepInput, snapshot: StepSnapshot, on_progress: Callable[[str], None]
    ) -> PassSums:
        """Run all forward and backward passes of a step, and return this process's losses."""
        batches = zip(loaded.graphs, loaded.batches)
        counts = [graph.objective.counts(targets) for graph, (_, targets) in batches]
        totals = self._communicator.total(reduce(np.add, counts))
        self._seed_functions()
        self._weights.zero_grad()
        snapshot.statistics = self._statistics.copy()
        return passes.run(
            loaded,
            totals,
            self._weights.loss_scale.factor * self.hyperparameters.gradient_factor,
            lambda number: on_progress(f'iteration {self.iteration + 1}, batch {number}'),
        )

    def _adapt_tasks(self, sums: PassSums, updated: bool) -> dict[str, dict[str, float]]:
        """Learn the scales of the tasks after an update; return further fields of :class:`Step`.

        All processes add up the same numbers in the same order, so that their scales stay equal.
        """
        if self._tasks is None:
            return {}
        shares = self._processes.gather((sums.task_losses, sums.squared_norms))
        losses, squares = (np.sum(each, axis=0) for each in zip(*shares))
        scales, names = self._tasks.scales, [task.name for task in self._tasks.tasks]
        # In half precision the gradient of a map can overflow where those of the weights do not.
        if scales.learns and updated and np.isfinite(squares).all():
            scales.update(losses, np.sqrt(squares))
        return {
            'task_losses': dict(zip(names, losses.tolist())),
            'task_scales': dict(zip(names, scales.values)) if scales.learns else {},
        }

    def _names(self, sums: PassSums) -> list[str]:
        """Return the names of the tasks whose loss is not finite in this process."""
        tasks = self._tasks.tasks if self._tasks else ()
        return [t.name for t, loss in zip(tasks, sums.task_losses) if not math.isfinite(loss)]

    def _seed_functions(self) -> None:
        """Seed dropout by the iteration, so that a resumed run drops the same values."""
        entropy = self._seed, self.iteration, self._processes.rank
        nn.random.set_function_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1))
