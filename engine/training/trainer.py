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
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import reduce

import nnabla as nn
import numpy as np

from common.errors import UserError
from common.patterns import matching_parameters
from engine.distributed.communicators import SingleProcessCommunicator
from engine.distributed.processes import OtherProcessError, Processes
from engine.runs.checkpoints import TrainingState
from engine.training import divergence
from engine.training.divergence import DivergedError
from engine.training.hyperparameters import Hyperparameters
from engine.training.loss_scale import LossScale
from engine.training.losses import Criterion
from engine.training.moving_average import MovingAverage
from engine.training.optimizer import Optimizer, SolverKeys
from engine.training.running_statistics import RunningStatistics
from engine.training.step import BatchSource, Step, StepInput, StepSnapshot
from engine.training.training_graphs import TrainingGraphs
from layers.build import float_context, on_gpu
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
        UserError: A pattern matches no parameter, or no parameter is left to train.
    """

    def __init__(
        self,
        network: Network,
        criterion: Criterion,
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
        self._processes, self._communicator = processes, communicator
        self._seed, self._clip_norm = seed, solver.clip_norm
        self._parameters = trainable(frozen)
        with nn.context_scope(float_context()):  # master weights are float32
            self._optimizer = Optimizer(
                self._parameters, solver, weight_decay=hyperparameters.weight_decay
            )
            self._average = None
            if solver.ema_decay is not None:
                everything = nn.get_parameters(grad_only=False)
                self._average = MovingAverage(everything, solver.ema_decay)
        self._scale = LossScale(half)
        self._graphs = TrainingGraphs(
            network,
            criterion,
            self._parameters,
            communicator,
            {'frozen': tuple(frozen), **(build or {})},
        )
        self._statistics = RunningStatistics()
        self.ranks_in_sync = False
        self._snapshot: StepSnapshot | None = None  # of an unfinished step, else None
        self._weights_changing = False

    def step(
        self,
        should_stop: Callable[[], bool] = lambda: False,
        should_save: Callable[[], bool] = lambda: False,
        on_progress: Callable[[str], None] = lambda activity: None,
        on_labels: Callable[[np.ndarray], None] = lambda labels: None,
    ) -> Step:
        """Train on the next batches; all of them are loaded before the first forward pass.

        Args:
            should_stop: Called before the update; returns whether this process requests all to stop
                after it.
            should_save: Called before the update; returns whether this process requests to save the
                state after it.
            on_progress: Called with a description of each load and each backward pass.
            on_labels: Called with the labels of each batch.

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
        snapshot = StepSnapshot(self.iteration, self.loader.state_dict(), self._scale.state())
        self._snapshot = snapshot
        batches = self._load(on_progress)
        for _, labels in batches.batches:
            on_labels(labels)
        rate = self.hyperparameters.rate(self.iteration)
        loss = self._compute_gradients(batches, snapshot, on_progress)
        numbers = np.array([loss, should_stop(), should_save()])
        total, stops, saves = self._communicator.total(numbers)
        if not np.isfinite(total):
            self.ranks_in_sync = True
            number = self.iteration + 1
            raise DivergedError(
                divergence.describe_loss(number, loss, batches.files, self._processes)
            )
        try:
            updated = self._update(rate)
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
        self._snapshot, self._weights_changing = None, False
        return Step(
            float(total),
            rate,
            batches.seconds,
            time.perf_counter() - started,
            stop=stops > 0,
            save=saves > 0,
            skipped=not updated,
            loss_scale=self._scale.factor,
        )

    def loss(self, shape: tuple[int, ...]) -> nn.Variable:
        """Return the loss for images of ``shape`` (N, 3, H, W), as a new graph."""
        _, objective = self._graphs.build_objective(shape)
        return objective.loss

    def averaged_parameters(self) -> AbstractContextManager[None]:
        """Return a context in which the moving averages, if there are any, are the parameters."""
        return self._average.applied() if self._average else nullcontext()

    def broadcast_parameters(self) -> None:
        """Copy the parameters of rank 0 to all ranks, whose running statistics can differ."""
        self._communicator.broadcast(nn.get_parameters(grad_only=False))

    def roll_back(self) -> bool:
        """Undo the changes of a step that raised an error.

        Returns:
            Whether :meth:`state` is now that of the last finished iteration: False if the step has
            already started to change weights.
        """
        if self._weights_changing:
            return False
        if self._snapshot is not None:
            self.iteration = self._snapshot.iteration
            self._scale.load_state(self._snapshot.loss_scale)
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
            'solver': self._optimizer.state(),
            'average': self._average.state() if self._average else None,
            'loader': self._snapshot.position if self._snapshot else self.loader.state_dict(),
            'loss_scale': self._scale.state(),
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
        self._optimizer.load_state(state.solver)
        if self._average and state.average is not None:
            self._average.load_state(state.average)
        elif self._average:  # it was created from the previous parameters
            self._average.restart()
        self._scale.load_state(state.loss_scale)
        self.iteration = state.iteration

    def _load(self, on_progress: Callable[[str], None]) -> StepInput:
        """Load the batches of a step.

        Raises:
            OtherProcessError: Another process cannot load its batches.
            Exception: The error of the loader, if this process cannot load its batches.
        """
        started = time.perf_counter()
        batches, files, loaded, failure = [], [], None, None
        try:
            for _ in range(self.hyperparameters.accumulation):
                batches.append(self.loader.next())
                files += [sample.image for sample in self.loader.samples]
                on_progress(f'iteration {self.iteration + 1}, batch {len(batches)}, loaded')
            seconds = time.perf_counter() - started
            graphs = [self._graphs.graph_for(images.shape) for images, _ in batches]
            loaded = StepInput(batches, files, graphs, seconds)
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
    ) -> float:
        """Run all forward and backward passes of a step, and return this process's loss."""
        batches, graphs = loaded.batches, loaded.graphs
        counts = [graph.objective.counts(label) for graph, (_, label) in zip(graphs, batches)]
        totals = self._communicator.total(reduce(np.add, counts))
        self._seed_functions()
        self._optimizer.zero_grad()
        snapshot.statistics = self._statistics.copy()
        gradient, loss = self._scale.factor * self.hyperparameters.gradient_factor, 0.0
        for number, (graph, (images, labels)) in enumerate(zip(graphs, batches), start=1):
            graph.image.d = images
            graph.objective.feed(labels, totals)
            graph.objective.loss.forward(clear_no_need_grad=True)
            (graph.backward_of_all if number == len(batches) else graph.backward)(gradient)
            loss += float(graph.objective.loss.d.item())
            on_progress(f'iteration {self.iteration + 1}, batch {number}')
        return loss

    def _seed_functions(self) -> None:
        """Seed dropout by the iteration, so that a resumed run drops the same values."""
        entropy = self._seed, self.iteration, self._processes.rank
        nn.random.set_function_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1))

    def _update(self, rate: float) -> bool:
        """Update the weights.

        Returns:
            False if the update is skipped since gradients overflow in half precision.

        Raises:
            DivergedError: Gradients are not finite.
        """
        if self._scale.active:
            overflow = self._optimizer.has_overflow()
            if overflow and self._scale.exhausted:
                raise DivergedError(
                    f'the gradients of iteration {self.iteration + 1} overflow in half precision, '
                    f'although the loss scale is at its minimum, {self._scale.factor:g}'
                )
            if not overflow:
                self._optimizer.scale_grad(1 / self._scale.factor)
            self._scale.adapt(overflow)
            if overflow:
                return False
        elif self._optimizer.has_overflow():
            bad = divergence.nonfinite_gradient(self._parameters)
            raise DivergedError(
                f'the gradient of {bad} is not finite in iteration {self.iteration + 1}'
            )
        if self._clip_norm and not math.isfinite(self._optimizer.clip(self._clip_norm)):
            raise DivergedError(
                f'the norm of the gradients of iteration {self.iteration + 1} is not finite'
            )
        self._weights_changing = True
        self._optimizer.update(rate)
        if self._average:
            self._average.update()
        return True


def trainable(frozen: Iterable[str]) -> dict[str, nn.Variable]:
    """Return the registered parameters that are trained.

    Args:
        frozen: Patterns of the names of parameters that are not trained.

    Raises:
        UserError: A pattern matches no parameter, or no parameter is left to train.
    """
    names = nn.get_parameters(grad_only=False)
    fixed = {name for pattern in frozen for name in matching_parameters('freeze', pattern, names)}
    left = {n: p for n, p in nn.get_parameters().items() if n not in fixed}
    if not left:
        raise UserError('freeze: leaves no parameter to train')
    return left
