"""Load the batches of a step, and run its forward and backward passes in this process."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import nnabla as nn
import nnabla.functions as F
import numpy as np

from engine.training.losses import TaskObjective
from engine.training.step import BatchSource, StepInput
from engine.training.training_graphs import TrainingGraphs
from layers.build import float_context


@dataclass(frozen=True)
class PassSums:
    """The sums over the passes of a step in this process.

    Attributes:
        loss: The loss.
        task_losses: (tasks,) float64, the loss of each task before its scale; (0,) for a network of
            one task.
        squared_norms: (tasks,) float64, the squared L2 norm of the gradient of each task at the
            encoder's last map; (0,) unless the scales of the tasks are learned.
    """

    loss: float
    task_losses: np.ndarray
    squared_norms: np.ndarray


def load_batches(
    loader: BatchSource, count: int, graphs: TrainingGraphs, on_load: Callable[[int], None]
) -> StepInput:
    """Load the batches of a step, and build their graphs.

    Args:
        loader: Provides the batches of this process.
        count: Number of batches.
        graphs: Builds the graphs.
        on_load: Called with the number of each batch, from 1.

    Raises:
        Exception: The error of the loader.
    """
    started = time.perf_counter()
    batches, files = [], []
    for number in range(1, count + 1):
        batches.append(loader.next())
        files += [sample.image for sample in loader.samples]
        on_load(number)
    seconds = time.perf_counter() - started
    built = [graphs.graph_for(images.shape) for images, _ in batches]
    return StepInput(batches, files, built, seconds)


def run(
    loaded: StepInput, totals: np.ndarray, gradient: float, on_pass: Callable[[int], None]
) -> PassSums:
    """Run all forward and backward passes of a step; the last one sums over the processes.

    Args:
        loaded: The batches and their graphs.
        totals: The denominators of the losses, over all processes.
        gradient: Gradient of the loss.
        on_pass: Called with the number of each pass, from 1.
    """
    loss, last = 0.0, len(loaded.batches)
    task_losses: list[np.ndarray] = []
    squared_norms: list[np.ndarray] = []
    for number, (graph, (images, targets)) in enumerate(zip(loaded.graphs, loaded.batches), 1):
        graph.image.d = images
        graph.objective.feed(targets, totals)
        graph.objective.loss.forward(clear_no_need_grad=True)
        (graph.backward_of_all if number == last else graph.backward)(gradient)
        loss += float(graph.objective.loss.d.item())
        if isinstance(graph.objective, TaskObjective):
            task_losses.append(graph.objective.task_losses())
            taps = [graph.taps[name] for name in graph.objective.names if graph.taps]
            squared_norms.append(_squared_norms(taps, gradient))
        on_pass(number)
    return PassSums(loss, _sum(task_losses), _sum(squared_norms))


def _squared_norms(taps: Sequence[nn.Variable], gradient: float) -> np.ndarray:
    """Return the squared norms of the gradients at variables, for a gradient of 1 of the loss.

    They are matrix products, as NNabla's sums over everything fail on Hopper GPUs.
    """
    squares = []
    with nn.context_scope(float_context()):
        for tap in taps:
            row = tap.grad.view((1, 1, tap.size))
            square = F.batch_matmul(row, row, transpose_b=True)
            squares.append(float(square.data.item()) / gradient**2)
    return np.array(squares, np.float64)


def _sum(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.sum(arrays, axis=0) if arrays else np.zeros(0)
