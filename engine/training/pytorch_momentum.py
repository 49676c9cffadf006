"""SGD with momentum in PyTorch's form: the velocity does not include the learning rate."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import nnabla as nn
import nnabla.solvers as S

# Name in the state of a parameter. NNabla's own solvers use v or m, so that the state of one form
# is not mistaken for that of the other.
VELOCITY = 'velocity'


class PyTorchMomentum:
    """PyTorch's SGD with momentum, composed of NNabla's solvers and with their interface.

    Source: pytorch/pytorch, torch/optim/sgd.py at v2.13.0, without dampening.

    Args:
        momentum: The share of the velocity that an update keeps.
        nesterov: Whether Nesterov's form is used.
    """

    def __init__(self, momentum: float, nesterov: bool):
        self._momentum, self._nesterov, self._steps = momentum, nesterov, 0
        self._gradients = S.Sgd(1.0)  # holds the parameters
        self._decayed = S.Sgd(1 - momentum)  # v -= (1 - momentum) * v
        self._velocities = S.Sgd(-1.0)  # v += g
        self._weights = S.Sgd(1.0)  # w -= lr * v
        self._states: dict[str, nn.Variable] = {}

    def set_parameters(self, parameters: Mapping[str, nn.Variable]) -> None:
        """Set the parameters; the velocity of each starts at zero."""
        self._gradients.set_parameters(parameters)
        for name, parameter in parameters.items():
            velocity = nn.Variable(parameter.shape)
            velocity.data.zero()
            velocity.grad = parameter.grad
            decayed = nn.Variable(parameter.shape)
            decayed.data = decayed.grad = velocity.data
            moved = nn.Variable(parameter.shape)
            moved.data, moved.grad = parameter.data, velocity.data
            self._decayed.set_parameters({name: decayed}, reset=False)
            self._velocities.set_parameters({name: velocity}, reset=False)
            self._weights.set_parameters({name: moved}, reset=False)
            self._states[name] = velocity

    def zero_grad(self) -> None:
        """Zero the gradients of all parameters."""
        self._gradients.zero_grad()

    def scale_grad(self, factor: float) -> None:
        """Multiply all gradients by ``factor``."""
        self._gradients.scale_grad(factor)

    def check_inf_or_nan_grad(self) -> bool:
        """Return whether a gradient is infinite or not a number."""
        return self._gradients.check_inf_or_nan_grad()

    def set_learning_rate(self, rate: float) -> None:
        """Set the learning rate of the next update."""
        self._rate = rate

    def weight_decay(self, decay: float) -> None:
        """Add ``decay * weights`` to the gradients."""
        self._gradients.weight_decay(decay)

    def update(self) -> None:
        """Update the velocities and the weights."""
        self._decayed.update()
        self._velocities.update()
        share = self._momentum if self._nesterov else 1
        self._weights.set_learning_rate(self._rate * share)
        self._weights.update()
        if self._nesterov:
            self._gradients.set_learning_rate(self._rate)
            self._gradients.update()
        self._steps += 1

    def get_states(self) -> dict[str, Any]:
        """Return the velocity of each parameter and the number of updates."""
        return {
            name: SimpleNamespace(pstate={VELOCITY: velocity}, t=self._steps)
            for name, velocity in self._states.items()
        }

    def set_states(self, states: Mapping[str, Any]) -> None:
        """Set the number of updates; the velocities were changed in place by the caller."""
        self._steps = next(iter(states.values())).t
