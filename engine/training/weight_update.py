"""Update the weights after the backward passes of a step: loss scale, clipping, solver, average."""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import nnabla as nn

from engine.runs.checkpoints import TrainingState
from engine.training import divergence
from engine.training.divergence import DivergedError
from engine.training.loss_scale import LossScale
from engine.training.moving_average import MovingAverage
from engine.training.optimizer import Optimizer, SolverKeys
from layers.build import float_context


class WeightUpdate:
    """The update of the weights, with all that it keeps from one step to the next.

    Args:
        parameters: The trained parameters by name.
        solver: The solver's keys.
        weight_decay: Factor of the weight decay.
        half: Whether the network computes in half precision.

    Attributes:
        loss_scale: The scale of the loss, which the gradients contain.
        changing: Whether an update has started to change weights. The caller sets it to False at
            the end of a step.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Variable],
        solver: SolverKeys,
        weight_decay: float,
        half: bool,
    ):
        self._parameters, self._clip_norm = parameters, solver.clip_norm
        with nn.context_scope(float_context()):  # master weights are float32
            self._optimizer = Optimizer(parameters, solver, weight_decay=weight_decay)
            self._average = None
            if solver.ema_decay is not None:
                everything = nn.get_parameters(grad_only=False)
                self._average = MovingAverage(everything, solver.ema_decay)
        self.loss_scale = LossScale(half)
        self.changing = False

    def zero_grad(self) -> None:
        """Set the gradients of the parameters to 0."""
        self._optimizer.zero_grad()

    def update(self, rate: float, iteration: int) -> bool:
        """Update the weights.

        Args:
            rate: The learning rate.
            iteration: Number of this iteration, from 1, for messages.

        Returns:
            False if the update is skipped since gradients overflow in half precision.

        Raises:
            DivergedError: Gradients are not finite.
        """
        if self.loss_scale.active:
            overflow = self._optimizer.has_overflow()
            if overflow and self.loss_scale.exhausted:
                raise DivergedError(
                    f'the gradients of iteration {iteration} overflow in half precision, although '
                    f'the loss scale is at its minimum, {self.loss_scale.factor:g}'
                )
            if not overflow:
                self._optimizer.scale_grad(1 / self.loss_scale.factor)
            self.loss_scale.adapt(overflow)
            if overflow:
                return False
        elif self._optimizer.has_overflow():
            bad = divergence.nonfinite_gradient(self._parameters)
            raise DivergedError(f'the gradient of {bad} is not finite in iteration {iteration}')
        if self._clip_norm and not math.isfinite(self._optimizer.clip(self._clip_norm)):
            raise DivergedError(f'the norm of the gradients of iteration {iteration} is not finite')
        self.changing = True
        self._optimizer.update(rate)
        if self._average:
            self._average.update()
        return True

    def averaged(self) -> AbstractContextManager[None]:
        """Return a context in which the moving averages, if there are any, are the parameters."""
        return self._average.applied() if self._average else nullcontext()

    def state(self) -> dict[str, Any]:
        """Return the state as fields of :class:`engine.runs.checkpoints.TrainingState`."""
        return {
            'solver': self._optimizer.state(),
            'average': self._average.state() if self._average else None,
            'loss_scale': self.loss_scale.state(),
        }

    def load_state(self, state: TrainingState) -> None:
        """Restore a :meth:`state`, after the parameters.

        Raises:
            UserError: The state does not fit.
        """
        self._optimizer.load_state(state.solver)
        if self._average and state.average is not None:
            self._average.load_state(state.average)
        elif self._average:  # it was created from the previous parameters
            self._average.restart()
        self.loss_scale.load_state(state.loss_scale)
