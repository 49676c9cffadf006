"""Save and restore the parameters that a forward pass changes: batch-norm running statistics."""

import nnabla as nn
import nnabla.functions as F
import numpy as np

from layers.build import float_context


class RunningStatistics:
    """The registered parameters that are not trained, as one array on their device."""

    def __init__(self) -> None:
        everything = nn.get_parameters(grad_only=False).values()
        self._parameters = [p for p in everything if not p.need_grad]

    def copy(self) -> nn.NdArray | None:
        """Return the concatenated values of the parameters; None if there is no parameter.

        One function copies all of them: launching hundreds of small copies takes longer than the
        copies themselves.
        """
        rows = [p.data.view((p.size,)) for p in self._parameters]
        with nn.context_scope(float_context()):
            return F.concatenate(*rows, axis=0) if rows else None

    def write(self, values: np.ndarray) -> None:
        """Set the parameters to the values of a :meth:`copy`."""
        start = 0
        for parameter in self._parameters:
            parameter.d = values[start : start + parameter.size].reshape(parameter.shape)
            start += parameter.size
