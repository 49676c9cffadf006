"""Keep an exponential moving average of the weights.

    average = MovingAverage(parameters, decay=0.999)
    optimizer.update(rate(iteration))
    average.update()

The average is computed on the device of the context in which it was created. It is float32 even if
the network is in half precision.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import nnabla as nn
import numpy as np

from engine.training.state_arrays import check_fit
from layers.build import float_context

UPDATE_COUNT = 'updates'  # name in the state


class MovingAverage:
    """The exponential moving average of parameters, batch-norm statistics included.

    Each :meth:`update` computes ``average = d * average + (1 - d) * live``, with ``d = min(decay,
    (1 + t) / (10 + t))`` after ``t`` earlier updates. The smaller initial ``d`` discounts the first
    weights, which are still poor; TensorFlow's ``ExponentialMovingAverage`` does the same with
    ``num_updates``.

    Args:
        parameters: Registered Variables by name.
        decay: The maximum of ``d``.
    """

    def __init__(self, parameters: Mapping[str, nn.Variable], decay: float):
        self._parameters, self._decay, self._updates = dict(parameters), decay, 0
        self._context = float_context()
        with nn.context_scope(self._context):
            self._averages = {name: _copy(p.data) for name, p in self._parameters.items()}

    def restart(self) -> None:
        """Reset the average to the live values."""
        self._updates = 0
        with nn.context_scope(self._context):
            for name, average in self._averages.items():
                average.copy_from(self._parameters[name].data)

    def update(self) -> None:
        """Update the average with the live values."""
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        with nn.context_scope(self._context):
            for name, average in self._averages.items():
                average += (self._parameters[name].data - average) * (1 - decay)
        self._updates += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Replace the live parameters by their averages inside the context."""
        with nn.context_scope(self._context):
            live = {name: _copy(p.data) for name, p in self._parameters.items()}
        self._write(self._averages)
        try:
            yield
        finally:
            self._write(live)

    def _write(self, values: dict[str, nn.NdArray]) -> None:
        with nn.context_scope(self._context):
            for name, value in values.items():
                self._parameters[name].data.copy_from(value)

    def state(self) -> dict[str, np.ndarray]:
        """Return the averages as ``average/<name>``, and the number of updates."""
        arrays = {f'average/{name}': a.get_data('r').copy() for name, a in self._averages.items()}
        return arrays | {UPDATE_COUNT: np.array(self._updates, np.int64)}

    def load_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Restore a :meth:`state`.

        Raises:
            UserError: The state belongs to other parameters; nothing is changed.
        """
        check_fit(self.state(), arrays, "the average's")
        for name, average in self._averages.items():
            average.data[...] = arrays[f'average/{name}']
        self._updates = int(arrays[UPDATE_COUNT])


def _copy(array: nn.NdArray) -> nn.NdArray:
    return nn.NdArray(array.shape).copy_from(array)
