"""The base of functions that the host computes, with a scalar loss as the first output."""

from collections.abc import Sequence
from typing import TypeAlias

import nnabla as nn
from nnabla.function import PythonFunction

Variables: TypeAlias = Sequence[nn.Variable]


class HostFunction(PythonFunction):
    """An NNabla function in Python whose outputs are scalars.

    The forward pass keeps what the gradient needs, so NNabla may free inputs and outputs.
    """

    number_of_outputs = 1

    @property
    def name(self) -> str:
        """The name of the function in NNabla's graph."""
        return type(self).__name__.lstrip('_')

    def min_outputs(self) -> int:
        """Return the number of outputs."""
        return self.number_of_outputs

    def grad_depends_output_data(self, i: int, o: int) -> bool:
        """Return whether a gradient needs the values of an output."""
        return False

    def grad_depends_input_data(self, i: int, j: int) -> bool:
        """Return whether a gradient needs the values of an input."""
        return False

    def setup_impl(self, inputs: Variables, outputs: Variables) -> None:
        """Set the shapes of the outputs."""
        for output in outputs:
            output.reset_shape((1,), True)
