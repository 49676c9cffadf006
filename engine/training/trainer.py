"""One update after the other: the part of a training that computes.

    trainer = Trainer(network, config, recipe, loader, processes, communicator, seed=0)
    while trainer.iteration < recipe.max_iter:
        step = trainer.step()

The sum of losses and gradients over micro-batches and processes is that of one process with one big
batch: all divide by the same totals, which are counted in the labels before the forward pass.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass

import nnabla as nn
import numpy as np

from common.errors import UserError
from datasets.loading.loader import Loader
from engine.distributed import communicators
from engine.distributed.communicators import Alone, Backward
from engine.distributed.processes import Processes
from engine.training import losses
from engine.training.loss_scale import LossScale
from engine.training.losses import Objective
from engine.training.optimizer import Average, Optimizer
from engine.training.parameter_patterns import matching
from engine.training.recipe import Recipe
from layers import recompute
from layers.build import float_context, on_gpu
from models import Network

GRAPHS = 16  # sizes of batches whose graphs are kept
GPU_CHECK_INTERVAL = 100  # iterations between two copies of all parameters to look at


class DivergedError(UserError):
    """The loss or the weights are not finite any more."""


@dataclass(frozen=True)
class Step:
    """What an update was like. loss: of all processes, before the update; rate: the learning rate;
    stop: whether one of the processes asked for the end. skipped: whether there was no update, as
    gradients overflowed in half precision. loss_scale: of the next step.
    """

    loss: float
    rate: float
    data_seconds: float
    seconds: float
    stop: bool
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


class Trainer:
    """A network in training; its parameters are registered, and equal on all processes.

    config: with what the network's family adds. half: the default context computes in half
    precision. build: further fields of :class:`layers.build.Build`. Raises ``UserError`` for a
    config that cannot be.
    """

    def __init__(
        self,
        network: Network,
        config: Mapping,
        recipe: Recipe,
        loader: Loader,
        processes: Processes,
        communicator: Alone,
        *,
        seed: int,
        half: bool = False,
        build: Mapping | None = None,
    ):
        self.recipe, self.loader, self.iteration = recipe, loader, 0
        self._network, self._processes, self._communicator = network, processes, communicator
        self.config = {'momentum_form': network.family.momentum_form, **config}
        self._criterion = losses.from_config(config, network.info.num_classes)
        self._build, self._seed, self._clip = build or {}, seed, config.get('clip_norm')
        self._parameters = trainable(config.get('freeze', ()))
        with nn.context_scope(float_context()):  # master weights stay in float
            self._optimizer = Optimizer(
                self._parameters, self.config, weight_decay=recipe.weight_decay
            )
            self._average = None
            if 'ema_decay' in config:
                everything = nn.get_parameters(grad_only=False)
                self._average = Average(everything, config['ema_decay'])
        self._scale = LossScale(half)
        self._graphs = OrderedDict()

    def step(
        self,
        should_stop: Callable[[], bool] = lambda: False,
        moved: Callable[[str], None] = lambda what: None,
        before_update: Callable[[], None] = lambda: None,
    ) -> Step:
        """Train on the next batches. should_stop: asked before the update, whether this process
        wants all to stop after it. moved: told of progress, batch by batch. before_update: called
        when all that has changed so far are running statistics and the loader.

        Raises ``DivergedError`` with the files of the batches, or with a parameter: NNabla's ReLU
        makes NaN 0, so weights may be lost without a trace in the loss. Loss and gradients are
        looked at before the update, which does not take place then; on a CPU all parameters after
        it. ``InputError`` from the loader.
        """
        started = time.perf_counter()
        batches, files = [], []
        for _ in range(self.recipe.accumulation):
            batches.append(self.loader.next())
            files += [sample.image for sample in self.loader.samples]
            moved(f'iteration {self.iteration + 1}, batch {len(batches)}, loaded')
        data_seconds = time.perf_counter() - started

        graphs = [self._graph(images.shape) for images, _ in batches]
        counts = sum(graph.objective.counts(label) for graph, (_, label) in zip(graphs, batches))
        totals = self._communicator.total(counts)
        self._communicator.require_same_order([graph.order for graph in graphs])
        rate = self.recipe.rate(self.iteration)
        self._seed_functions()
        self._optimizer.zero_grad()
        gradient, loss = self._scale.factor * self.recipe.gradient_factor, 0.0
        for number, (graph, (images, labels)) in enumerate(zip(graphs, batches), start=1):
            graph.image.d = images
            graph.objective.feed(labels, totals)
            graph.objective.loss.forward(clear_no_need_grad=True)
            (graph.backward_of_all if number == len(batches) else graph.backward)(gradient)
            loss += float(graph.objective.loss.d.item())
            moved(f'iteration {self.iteration + 1}, batch {number}')
        total, stops = self._communicator.total(np.array([loss, should_stop()]))
        if not np.isfinite(total):
            raise DivergedError(self._where_not_finite(loss, files))
        before_update()
        try:
            updated = self._update(rate)
            self.iteration += 1
            if not on_gpu() or self.iteration % GPU_CHECK_INTERVAL == 0:
                self._check_parameters()
        except DivergedError as error:
            where = 'on' if self._processes.size == 1 else f'{self._processes} had'
            raise DivergedError(f'{error} ({where} {", ".join(map(str, files))})') from error
        seconds = time.perf_counter() - started
        return Step(
            float(total),
            rate,
            data_seconds,
            seconds,
            stop=stops > 0,
            skipped=not updated,
            loss_scale=self._scale.factor,
        )

    def loss(self, shape: tuple[int, ...]) -> nn.Variable:
        """The loss of a batch of images of ``shape``, (N, 3, H, W), as a graph of its own."""
        _, objective = self._build_graph(shape)
        return objective.loss

    def evaluated(self):
        """A context in which the parameters are those to be judged: the averages, if there are."""
        return self._average.applied() if self._average else nullcontext()

    def agree(self):
        """Give all processes the parameters of rank 0; local running statistics differ."""
        self._communicator.broadcast(nn.get_parameters(grad_only=False))

    def state(self) -> dict:
        """What the next updates depend on, as fields of
        :class:`engine.runs.checkpoints.TrainingState`.

        Raises ``DivergedError`` when it is not worth keeping.
        """
        self._check_parameters()
        return self._state(copy=True)

    def live_state(self) -> dict:
        """:meth:`state` until the next update, which changes its arrays, and unchecked: what only
        an update changes is not copied.
        """
        return self._state(copy=False)

    def _state(self, copy: bool) -> dict:
        everything = nn.get_parameters(grad_only=False)
        parameters = {name: p.data.get_data('r') for name, p in everything.items()}
        for name, parameter in everything.items():
            if copy or not parameter.need_grad:  # running statistics: every forward pass has its
                parameters[name] = parameters[name].copy()
        return {
            'iteration': self.iteration,
            'parameters': parameters,
            'solver': self._optimizer.state(copy),
            'average': self._average.state(copy) if self._average else None,
            'loader': self.loader.state_dict(),
            'loss_scale': self._scale.state(),
        }

    def load_state(self, state):
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

    def _graph(self, shape: tuple[int, ...]) -> _Graph:
        if shape in self._graphs:
            self._graphs.move_to_end(shape)
            return self._graphs[shape]
        image, objective = self._build_graph(shape)
        graph = _Graph(
            image,
            objective,
            lambda gradient: objective.loss.backward(gradient, clear_buffer=True),
            self._communicator.backward_of(objective.loss, self._parameters),
            communicators.order_of(objective.loss),
        )
        self._graphs[shape] = graph
        if len(self._graphs) > GRAPHS:
            self._graphs.popitem(last=False)
        return graph

    def _build_graph(self, shape: tuple[int, ...]) -> tuple[nn.Variable, Objective]:
        image = nn.Variable(shape)
        outputs = self._network(image, train=True, **self._build)
        objective = self._criterion.build(outputs, shape[2:])
        recompute.keep_touched(objective.loss)
        return image, objective

    def _seed_functions(self):
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
            raise DivergedError(
                f'the gradient of {self._first_not_finite()} is not finite in iteration '
                f'{self.iteration + 1}'
            )
        if self._clip and not math.isfinite(self._optimizer.clip(self._clip)):
            raise DivergedError(
                f'the norm of the gradients of iteration {self.iteration + 1} is not finite'
            )
        self._optimizer.update(rate)
        if self._average:
            self._average.update()
        return True

    def _first_not_finite(self) -> str:
        """The name of a parameter whose gradient is not finite."""
        return next(n for n, p in self._parameters.items() if not np.isfinite(p.g).all())

    def _check_parameters(self):
        everything = nn.get_parameters(grad_only=False)
        require_finite({n: p.data.get_data('r') for n, p in everything.items()}, self.iteration)

    def _where_not_finite(self, loss: float, files: list) -> str:
        reports = self._processes.gather(None if np.isfinite(loss) else (loss, files))
        where = '; '.join(
            f'rank {rank}: {report[0]} on {", ".join(map(str, report[1]))}'
            for rank, report in enumerate(reports)
            if report is not None
        )
        if not where:
            where = 'that of every process is, their sum is not'
        return f'the loss of iteration {self.iteration + 1} is not finite ({where})'


def trainable(frozen) -> dict[str, nn.Variable]:
    """The registered parameters that are trained, without those like the patterns ``frozen``.

    Raises ``UserError`` for a pattern that is like no parameter, and when none is left.
    """
    names = nn.get_parameters(grad_only=False)
    fixed = {name for pattern in frozen for name in matching('freeze', pattern, names)}
    left = {n: p for n, p in nn.get_parameters().items() if n not in fixed}
    if not left:
        raise UserError('freeze: leaves nothing to train')
    return left


def require_finite(parameters: Mapping[str, np.ndarray], iteration: int):
    """Raise ``DivergedError`` for parameters after an iteration that are no numbers any more."""
    for name, array in parameters.items():
        if not np.isfinite(array).all():
            raise DivergedError(f'the parameter {name} is not finite after iteration {iteration}')
