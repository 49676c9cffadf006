"""Combine the losses of several tasks, each with a criterion of its own.

    criterion = create(config, tasks)
    objective = criterion.build(network(x, train=True), x.shape[2:], total=communicator.total)
    totals = communicator.total(objective.counts(targets))      # targets: an array for each task
    objective.feed(targets, totals)
    objective.loss.forward(clear_no_need_grad=True)
    objective.task_losses()                                     # before the scales

The objective is used as that of a single task; see :mod:`engine.training.losses.criterion`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, TypeAlias

import nnabla as nn
import numpy as np

from common.sections import SectionError
from common.tasks import CLASSES, Task
from engine.training.losses import criterion as class_criterion
from engine.training.losses.criterion import Criterion, Objective
from engine.training.losses.depth_criterion import DepthCriterion
from engine.training.losses.keys import PIXEL_LOSSES, LossKeys
from engine.training.losses.pass_mean import Total, own_total
from engine.training.losses.registry import DEPTH_TERMS, TERMS
from engine.training.losses.task_keys import LEARNED, TaskLossKeys
from engine.training.losses.task_weighting import LearnedScales, TaskScales
from layers.build import float_context

TaskTargets: TypeAlias = Mapping[str, np.ndarray]


def create(config: Mapping[str, Any], tasks: Sequence[Task]) -> 'TaskCriterion':
    """Create the criterion of the tasks of a network.

    The keys of the loss hold for every task of their kind, unless ``task_losses`` overrides them.

    Args:
        config: The effective config.
        tasks: The tasks in the order of the network's outputs.

    Raises:
        SectionError: Keys contradict each other, or the tasks.
    """
    keys = TaskLossKeys.of(config)
    keys.check_names(tasks)
    scales = LearnedScales if keys.task_weighting == LEARNED else TaskScales
    first = next((task for task in tasks if task.kind == CLASSES), None)
    without = {**config, 'aux_weights': None}  # auxiliary heads belong to the first class task
    for name, own in (keys.task_losses or {}).items():
        if 'aux_weights' in own and (first is None or name != first.name):
            where = 'no task has any' if first is None else f'they are those of {first.name}'
            raise SectionError(
                'task_losses',
                f'{name}: aux_weights: the task has no auxiliary heads; {where}, leave the key out',
            )
    parts = [_criterion_of(task, keys, config if task == first else without) for task in tasks]
    return TaskCriterion(tuple(tasks), tuple(parts), scales(keys.weights_of(tasks)))


def _criterion_of(
    task: Task, keys: TaskLossKeys, config: Mapping[str, Any]
) -> Criterion | DepthCriterion:
    """Return the criterion of a task."""
    if task.kind == CLASSES:
        losses, terms = PIXEL_LOSSES.values(), TERMS.values()
        own = keys.of_task(task, [LossKeys, *(part.keys for part in (*losses, *terms))])
    else:
        own = keys.of_task(task, [term.keys for term in DEPTH_TERMS.values()])
    try:
        if task.kind == CLASSES:
            return class_criterion.create({**config, **own}, task.channels)
        return DepthCriterion.of({**config, **own})
    except SectionError as error:
        if set(own).intersection(error.keys):
            raise SectionError('task_losses', f'{task.name}: {error}') from error
        remedy = 'task_losses gives a task its own keys'
        raise SectionError(
            ', '.join(error.keys), f'{error.problem} (task {task.name}; {remedy})'
        ) from error


@dataclass(frozen=True)
class TaskCriterion:
    """The training loss of several tasks: the sum of their losses times their scales.

    Attributes:
        tasks: The tasks in the order of the network's outputs.
        parts: The criterion of each task.
        scales: The factors of the losses.
    """

    tasks: tuple[Task, ...]
    parts: tuple[Criterion | DepthCriterion, ...]
    scales: TaskScales

    def check_heads(self, count: Callable[[], int]) -> None:
        """Check the weights of auxiliary heads as :meth:`Criterion.check_heads` does."""
        classes = ((t, part) for t, part in zip(self.tasks, self.parts) if t.kind == CLASSES)
        task, part = next(classes, (None, None))
        if task is None or not isinstance(part, Criterion):
            return
        try:
            part.check_heads(count)
        except SectionError as error:
            raise SectionError(error.key, f'{error.problem} (task {task.name})') from error

    def build(
        self,
        outputs: Sequence[nn.Variable],
        size: tuple[int, int],
        context: nn.Context | None = None,
        total: Total = own_total,
    ) -> 'TaskObjective':
        """Build the graph of the loss, in float32 for every network.

        Args:
            outputs: The output of each task, (N, channels, h, w), then the auxiliary heads of the
                first task of kind classes.
            size: (H, W) of the network's input.
            context: The context of the device; by default the current one.
            total: Returns the sum of an array over all processes.

        Raises:
            SectionError: ``aux_weights`` does not match the number of auxiliary heads.
        """
        main, auxiliary = outputs[: len(self.tasks)], list(outputs[len(self.tasks) :])
        objectives = {}
        for task, part, output in zip(self.tasks, self.parts, main):
            heads = [output]
            if task.kind == CLASSES:
                heads, auxiliary = [output, *auxiliary], []
            objectives[task.name] = part.build(heads, size, context, total)
        with nn.context_scope(float_context(context)):
            return TaskObjective(objectives, self.scales)


class TaskObjective:
    """The graph of the loss of one micro-batch of several tasks.

    Args:
        objectives: The objective of each task by name, in order.
        scales: The factors of their losses.

    Attributes:
        loss: Variable (1,), this micro-batch's share of the loss of the whole batch.
        names: Names of the tasks, in order.
    """

    def __init__(self, objectives: Mapping[str, Objective], scales: TaskScales):
        self._objectives, self._scales = dict(objectives), scales
        self.names = tuple(objectives)
        self._factors = [nn.Variable((1,), need_grad=False) for _ in self._objectives]
        parts = zip(self._objectives.values(), self._factors)
        self.loss: nn.Variable = reduce(add, (part.loss * factor for part, factor in parts))
        self.loss.persistent = True

    def counts(self, targets: TaskTargets) -> np.ndarray:
        """Return this micro-batch's contribution to the denominators, float64 (losses,)."""
        return np.concatenate([o.counts(targets[name]) for name, o in self._objectives.items()])

    def feed(self, targets: TaskTargets, totals: np.ndarray) -> None:
        """Set the targets and the scales of the next forward pass.

        Args:
            targets: Labels or depths by task, (N, 1, H, W) of the input's size.
            totals: (losses,) sum of the :meth:`counts` of all micro-batches of all processes.
        """
        start = 0
        for name, objective in self._objectives.items():
            end = start + objective.size
            objective.feed(targets[name], totals[start:end])
            start = end
        for factor, scale in zip(self._factors, self._scales.values):
            factor.d = np.full(1, scale, np.float32)

    def task_losses(self) -> np.ndarray:
        """Return the share of the loss of each task after a forward pass, before its scale.

        Returns:
            (tasks,) float64.
        """
        return np.array([float(each.loss.d.item()) for each in self._objectives.values()])
