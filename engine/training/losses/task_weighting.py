"""The scales of the losses of several tasks: fixed, or learned from their gradients."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common.errors import UserError

# Constants of the original.
EXPONENT = 0.75  # of the relative speed of training in the target of a norm
RATE = 1e-4  # of the scales
SHORT, LONG = 1e-3, 1e-6  # share of a new value in the moving averages
EPSILON = 1e-6
SUM_OF_SCALES = 3.0  # for any number of tasks


class TaskScales:
    """Fixed factors of the losses of tasks, and the interface of all such factors.

    Args:
        values: The factor of each task.

    Attributes:
        values: The factor of each task in the next step.
        learns: Whether :meth:`update` needs the norms of the gradients.
    """

    learns = False

    def __init__(self, values: Sequence[float]):
        self.values = tuple(map(float, values))

    def update(self, losses: np.ndarray, norms: np.ndarray) -> None:
        """Adapt the factors after a step; all processes must pass the same numbers.

        Args:
            losses: (tasks,) the loss of each task over the whole batch, before its factor.
            norms: (tasks,) L2 norm of the gradient of each loss, times its factor, with respect to
                the encoder's last map of the whole batch.
        """

    def state(self) -> dict[str, list[float]] | None:
        """Return the state as JSON values; None without any."""
        return None

    def load_state(self, state: Mapping[str, Any] | None) -> None:
        """Restore a :meth:`state`."""


class LearnedScales(TaskScales):
    """Factors that give tasks with a slow progress, and a small gradient, more weight.

    The target of a task's norm is the mean of all norms times ``r^0.75``, where ``r`` is the task's
    share of all quotients of a short and a long average of its loss. Factors move towards the
    target by a relative 1e-4 of the distance; their sum is 3. Norms and losses are moving averages.
    A gradient is that at the encoder's last map, so it leaves out what flows through shortcuts. The
    factors of a step come from the gradients of the step before.

    Source: TexasInstruments/edgeai-modeloptimization, commit
    6f4732f4371dac78b23c4fe36dd12692ac18cb54, torchmodelopt/edgeai_torchmodelopt/xnn/layers/
    multi_task.py, types ``learned`` and ``pseudo_grad_norm``. It is a variant of GradNorm (Chen,
    Badrinarayanan, Lee, Rabinovich, 2018, arXiv:1711.02257) without a gradient of its own.

    Differs from the original: float64 instead of float32. The averages and factors are part of the
    training state; the original loses them when a training resumes. With several processes, losses
    and norms are those of the whole batch.
    """

    learns = True

    def __init__(self, values: Sequence[float]):
        super().__init__(values)
        self._norms: np.ndarray | None = None  # None before the first update
        self._short = self._long = np.zeros(len(self.values))

    def update(self, losses: np.ndarray, norms: np.ndarray) -> None:
        """Adapt the factors; see :meth:`TaskScales.update`."""
        if self._norms is None:
            self._norms, self._short, self._long = norms, losses, losses
        else:
            self._norms = _moved(self._norms, norms, SHORT)
            self._short = _moved(self._short, losses, SHORT)
            self._long = _moved(self._long, losses, LONG)
        progress = self._short / (self._long + EPSILON)
        # A quotient of 0 / 0 would be NaN for good: without a loss, all tasks count alike.
        share = progress / progress.sum() if progress.any() else 1 / len(progress)
        target = self._norms.mean() * share**EXPONENT
        scales = np.array(self.values)
        scales = scales + RATE * scales * (target / (self._norms + EPSILON) - 1)
        self.values = tuple((SUM_OF_SCALES * scales / scales.sum()).tolist())

    def state(self) -> dict[str, list[float]]:
        """Return factors and averages as JSON values."""
        norms = [] if self._norms is None else self._norms.tolist()
        return {
            'scales': list(self.values),
            'norms': norms,
            'short': self._short.tolist(),
            'long': self._long.tolist(),
        }

    def load_state(self, state: Mapping[str, Any] | None) -> None:
        """Restore a :meth:`state`; None, as of a run with fixed weights, keeps the first values.

        Raises:
            UserError: It belongs to another number of tasks.
        """
        if state is None:
            return
        count = len(self.values)
        if {len(state[key]) for key in ('scales', 'short', 'long')} != {count}:
            raise UserError(
                f'the state has {len(state["scales"])} scales of tasks, the network has {count}; '
                'was the config changed?'
            )
        self.values = tuple(state['scales'])
        self._norms = np.array(state['norms']) if state['norms'] else None
        self._short, self._long = np.array(state['short']), np.array(state['long'])


def _moved(average: np.ndarray, value: np.ndarray, share: float) -> np.ndarray:
    return average * (1 - share) + value * share
