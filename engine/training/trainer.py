"""One update after the other: the part of a training that computes.

    trainer = Trainer(
        network, criterion, solver, recipe, loader, processes, communicator, seed=0
    )
    while trainer.iteration < recipe.max_iter:
        step = trainer.step()

The sum of losses and gradients over micro-batches and processes is that of one process with one big
batch: all divide by the same totals, which are counted in the labels before the forward pass.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import reduce
from typing import Any, Protocol

import nnabla as nn
import numpy as np

from common.errors import UserError
from common.lru import LeastRecentlyUsed
from common.patterns import matching_parameters
from datasets import Sample
from engine.distributed import communicators
from engine.distributed.communicators import Backward, SingleProcessCommunicator
from engine.distributed.processes import OtherProcessError, Processes
from engine.runs.checkpoints import TrainingState
from engine.training import divergence
from engine.training.divergence import DivergedError
from engine.training.loss_scale import LossScale
from engine.training.losses import Criterion, Objective
from engine.training.moving_average import Average
from engine.training.optimizer import Optimizer, SolverKeys
from engine.training.recipe import Recipe
from engine.training.running_statistics import RunningStatistics
from layers import recompute
from layers.build import float_context, on_gpu
from models import Network

GRAPHS = 16  # sizes of batches whose graphs are kept
GPU_CHECK_INTERVAL = 100  # iterations between two copies of all parameters to look at


@dataclass(frozen=True)
class Step:
    """What an update was like. loss: of all processes, before the update; rate: the learning rate;
    stop, save: whether one of the processes asked for the end, or for the state to be saved.
    skipped: whether there was no update, as gradients overflowed in half precision. loss_scale: of
    the next step.
    """

    loss: float
    rate: float
    data_seconds: float
    seconds: float
    stop: bool
    save: bool
    skipped: bool
    loss_scale: float


@dataclass(frozen=True)
class _Graph:
    """The graph for one size of batches."""

    image: nn.Variable
    objective: Objective
    backward: Backward  # this process's gradients
    backward_of_all: Backward  # and then their sum over all processes
    order: tuple[str, ...]  # of its synchronized batch norms


@dataclass(frozen=True)
class _Work:
    """What a step computes. batches: images and labels, one pair for each backward pass."""

    batches: list[tuple[np.ndarray, np.ndarray]]
    files: list
    graphs: list[_Graph]
    seconds: float  # until the batches were loaded


@dataclass
class _Before:
    """What a step changes before it changes weights, as it was.

    position: of the loader. statistics: the parameters that are not trained, one after the other on
    their device; None before the first forward pass.
    """

    iteration: int
    position: dict
    loss_scale: dict | None
    statistics: nn.NdArray | None = None


class Batches(Protocol):
    """What a trainer needs of a loader, such as :class:`datasets.loading.loader.Loader`."""

    @property
    def samples(self) -> Sequence[Sample]:
        """What the latest batch was loaded from."""

    def next(self) -> tuple[np.ndarray, np.ndarray]:
        """Return images, float32 (N, 3, H, W), and labels, int32 (N, 1, H, W), -1 where ignored."""

    def state_dict(self) -> dict[str, Any]:
        """Return where the loader stands, of plain values."""


class Trainer:
    """A network in training; its parameters are registered, and equal on all processes.

    Args:
        network: Its parameters are registered.
        criterion: What is minimised.
        solver: With :func:`engine.training.optimizer.momentum_form`.
        recipe: Length and rates.
        loader: Of this process's batches.
        processes: All processes of the job.
        communicator: Of the processes.
        seed: Of what dropout drops.
        half: Whether the default context computes in half precision.
        frozen: Patterns of the names of parameters that are not trained.
        build: Further fields of :class:`layers.build.Build`.

    Attributes:
        together: After an error of :meth:`step`, whether all processes have left the step for it,
            at the same place; else the others may still be in it.

    Raises:
        UserError: A pattern matches no parameter, or nothing is left to train.
    """

    def __init__(
        self,
        network: Network,
        criterion: Criterion,
        solver: SolverKeys,
        recipe: Recipe,
        loader: Batches,
        processes: Processes,
        communicator: SingleProcessCommunicator,
        *,
        seed: int,
        half: bool = False,
        frozen: Sequence[str] = (),
        build: Mapping | None = None,
    ):
        self.recipe, self.loader, self.iteration = recipe, loader, 0
        self._network, self._processes, self._communicator = network, processes, communicator
        self._criterion, self._seed, self._clip = criterion, seed, solver.clip_norm
        self._build = {'frozen': tuple(frozen), **(build or {})}
        self._parameters = trainable(frozen)
        with nn.context_scope(float_context()):  # master weights stay in float
            self._optimizer = Optimizer(self._parameters, solver, weight_decay=recipe.weight_decay)
            self._average = None
            if solver.ema_decay is not None:
                everything = nn.get_parameters(grad_only=False)
                self._average = Average(everything, solver.ema_decay)
        self._scale = LossScale(half)
        self._graphs: LeastRecentlyUsed[tuple[int, ...], _Graph] = LeastRecentlyUsed(GRAPHS)
        self._statistics = RunningStatistics()
        self.together = False
        self._before: _Before | None = None  # of the step at hand
        self._changing = False

    def step(
        self,
        should_stop: Callable[[], bool] = lambda: False,
        should_save: Callable[[], bool] = lambda: False,
        moved: Callable[[str], None] = lambda what: None,
    ) -> Step:
        """Train on the next batches, which are all loaded before the first forward pass.

        Args:
            should_stop: Asked before the update, whether this process wants all to stop after it.
            should_save: Likewise, whether it wants the state to be saved after it.
            moved: Called with what has been done, batch by batch.

        Raises:
            DivergedError: With the files of the batches, or with a parameter: NNabla's ReLU makes
                NaN 0, so weights may be lost without a trace in the loss. Loss and gradients are
                looked at before the update, which does not take place then; on a CPU all
                parameters after it.
            OtherProcessError: Another process cannot load its batches.
            Exception: Of the loader, where this process cannot.
        """
        started = time.perf_counter()
        self.together = False
        before = _Before(self.iteration, self.loader.state_dict(), self._scale.state())
        self._before = before
        work = self._load(moved)
        rate = self.recipe.rate(self.iteration)
        loss = self._compute_gradients(work, before, moved)
        numbers = np.array([loss, should_stop(), should_save()])
        total, stops, saves = self._communicator.total(numbers)
        if not np.isfinite(total):
            self.together = True
            number = self.iteration + 1
            raise DivergedError(divergence.describe_loss(number, loss, work.files, self._processes))
        try:
            updated = self._update(rate)
            self.iteration += 1
            if not on_gpu() or self.iteration % GPU_CHECK_INTERVAL == 0:
                divergence.check_parameters(self.iteration)
        except DivergedError as error:
            # Gradients are the same on all processes, running statistics may not be.
            self.together = self.iteration == before.iteration
            where = 'on' if self._processes.size == 1 else f'{self._processes} had'
            raise DivergedError(f'{error} ({where} {", ".join(map(str, work.files))})') from error
        self._before, self._changing = None, False
        return Step(
            float(total),
            rate,
            work.seconds,
            time.perf_counter() - started,
            stop=stops > 0,
            save=saves > 0,
            skipped=not updated,
            loss_scale=self._scale.factor,
        )

    def loss(self, shape: tuple[int, ...]) -> nn.Variable:
        """The loss of a batch of images of ``shape``, (N, 3, H, W), as a graph of its own."""
        _, objective = self._build_graph(shape)
        return objective.loss

    def evaluated(self) -> AbstractContextManager[None]:
        """A context in which the parameters are those to be judged: the averages, if there are."""
        return self._average.applied() if self._average else nullcontext()

    def agree(self) -> None:
        """Give all processes the parameters of rank 0; local running statistics differ."""
        self._communicator.broadcast(nn.get_parameters(grad_only=False))

    def restore(self) -> bool:
        """Take back what a step has changed that has ended with an error.

        Returns:
            Whether :meth:`state` is that of the last finished iteration now. It is not when the
            step has begun to change weights.
        """
        if self._changing:
            return False
        if self._before is not None:
            self.iteration = self._before.iteration
            self._scale.load_state(self._before.loss_scale)
            if self._before.statistics is not None:
                self._statistics.write(self._before.statistics.data)
        return True

    def state(self) -> dict:
        """What the next updates depend on, as fields of
        :class:`engine.runs.checkpoints.TrainingState`.

        Raises ``DivergedError`` when it is not worth keeping.
        """
        divergence.check_parameters(self.iteration)
        everything = nn.get_parameters(grad_only=False)
        return {
            'iteration': self.iteration,
            'parameters': {name: p.data.get_data('r').copy() for name, p in everything.items()},
            'solver': self._optimizer.state(),
            'average': self._average.state() if self._average else None,
            'loader': self._before.position if self._before else self.loader.state_dict(),
            'loss_scale': self._scale.state(),
        }

    def load_state(self, state: TrainingState) -> None:
        """Go on where a :class:`engine.runs.checkpoints.TrainingState` was taken, but for the
        loader.

        Raises ``UserError`` when it does not fit; some of it may be loaded by then.
        """
        everything = nn.get_parameters(grad_only=False)
        if {n: p.shape for n, p in everything.items()} != {
            name: array.shape for name, array in state.parameters.items()
        }:
            raise UserError('the state is that of another network')
        for name, parameter in everything.items():
            parameter.d = state.parameters[name]
        self._optimizer.load_state(state.solver)
        if self._average and state.average is not None:
            self._average.load_state(state.average)
        elif self._average:  # it was made of the parameters as they were before
            self._average.restart()
        self._scale.load_state(state.loss_scale)
        self.iteration = state.iteration

    def _load(self, moved: Callable[[str], None]) -> _Work:
        """Load the batches of a step, in which all processes must succeed."""
        started = time.perf_counter()
        batches, files, work, failure = [], [], None, None
        try:
            for _ in range(self.recipe.accumulation):
                batches.append(self.loader.next())
                files += [sample.image for sample in self.loader.samples]
                moved(f'iteration {self.iteration + 1}, batch {len(batches)}, loaded')
            seconds = time.perf_counter() - started
            graphs = [self._graph(images.shape) for images, _ in batches]
            work = _Work(batches, files, graphs, seconds)
        except Exception as error:  # whatever it is, the others must not wait for this process
            failure = error
        self.together = True
        orders = [graph.order for graph in work.graphs] if work else None
        if not self._communicator.all_are_ready(orders) or work is None:
            raise failure or OtherProcessError('another process cannot load its batches')
        self.together = False
        return work

    def _compute_gradients(
        self, work: _Work, before: _Before, moved: Callable[[str], None]
    ) -> float:
        """Run all forward and backward passes of a step; returns this process's loss."""
        batches, graphs = work.batches, work.graphs
        counts = [graph.objective.counts(label) for graph, (_, label) in zip(graphs, batches)]
        totals = self._communicator.total(reduce(np.add, counts))
        self._seed_functions()
        self._optimizer.zero_grad()
        before.statistics = self._statistics.copy()
        gradient, loss = self._scale.factor * self.recipe.gradient_factor, 0.0
        for number, (graph, (images, labels)) in enumerate(zip(graphs, batches), start=1):
            graph.image.d = images
            graph.objective.feed(labels, totals)
            graph.objective.loss.forward(clear_no_need_grad=True)
            (graph.backward_of_all if number == len(batches) else graph.backward)(gradient)
            loss += float(graph.objective.loss.d.item())
            moved(f'iteration {self.iteration + 1}, batch {number}')
        return loss

    def _graph(self, shape: tuple[int, ...]) -> _Graph:
        return self._graphs.get_or_make(shape, lambda: self._new_graph(shape))

    def _new_graph(self, shape: tuple[int, ...]) -> _Graph:
        image, objective = self._build_graph(shape)
        return _Graph(
            image,
            objective,
            lambda gradient: objective.loss.backward(gradient, clear_buffer=True),
            self._communicator.backward_of(objective.loss, self._parameters),
            communicators.sync_batch_norm_order(objective.loss),
        )

    def _build_graph(self, shape: tuple[int, ...]) -> tuple[nn.Variable, Objective]:
        image = nn.Variable(shape)
        outputs = self._network(image, train=True, **self._build)
        objective = self._criterion.build(outputs, (shape[2], shape[3]))
        recompute.keep_inputs_of_spurious_readers(objective.loss)
        return image, objective

    def _seed_functions(self) -> None:
        """Make what dropout drops depend on the iteration, not on how training got there."""
        place = self._seed, self.iteration, self._processes.rank
        nn.random.set_function_seed(int(np.random.SeedSequence(place).generate_state(1)[0] >> 1))

    def _update(self, rate: float) -> bool:
        """Change the weights; returns whether that was done."""
        if self._scale.active:
            overflow = self._optimizer.has_overflow()
            if overflow and self._scale.exhausted:
                raise DivergedError(
                    f'the gradients of iteration {self.iteration + 1} overflow in half precision, '
                    f'though the loss is scaled by no more than {self._scale.factor:g}'
                )
            if not overflow:
                self._optimizer.scale_grad(1 / self._scale.factor)
            self._scale.adapt(overflow)
            if overflow:
                return False
        elif self._optimizer.has_overflow():
            bad = divergence.bad_gradient(self._parameters)
            raise DivergedError(
                f'the gradient of {bad} is not finite in iteration {self.iteration + 1}'
            )
        if self._clip and not math.isfinite(self._optimizer.clip(self._clip)):
            raise DivergedError(
                f'the norm of the gradients of iteration {self.iteration + 1} is not finite'
            )
        self._changing = True
        self._optimizer.update(rate)
        if self._average:
            self._average.update()
        return True


def trainable(frozen: Iterable[str]) -> dict[str, nn.Variable]:
    """The registered parameters that are trained, without those like the patterns ``frozen``.

    Raises ``UserError`` for a pattern that is like no parameter, and when none is left.
    """
    names = nn.get_parameters(grad_only=False)
    fixed = {name for pattern in frozen for name in matching_parameters('freeze', pattern, names)}
    left = {n: p for n, p in nn.get_parameters().items() if n not in fixed}
    if not left:
        raise UserError('freeze: leaves nothing to train')
    return left
