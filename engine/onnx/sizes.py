"""Nodes that compute sizes in an ONNX graph, each of them once."""

from typing import Any, Protocol

import nnabla as nn
import numpy as np


class GraphUnderConstruction(Protocol):
    """The methods of :class:`engine.onnx.graph.OnnxGraph` that these nodes need."""

    def name(self, variable: nn.Variable) -> str:
        """Return the name of a variable."""

    def constant(self, array: np.ndarray, name: str) -> str:
        """Add a constant and return its name."""

    def node(self, kind: str, inputs: list[str], out: str, **attributes: Any) -> str:
        """Add a node and return the name of its output."""

    def unused(self, name: str) -> str:
        """Return a name that is not taken."""


class SizeNodes:
    """Nodes with the lengths of axes of the variables of a graph, as int64 tensors.

    Args:
        graph: The graph under construction.
    """

    def __init__(self, graph: GraphUnderConstruction):
        self._graph = graph
        self._known: dict[tuple[str, ...], str] = {}

    def length(self, variable: nn.Variable, axis: int) -> str:
        """Return the name of the length of an axis, (1,)."""
        source = self._graph.name(variable)
        return self._taken(source, [axis], f'axis_{axis}')

    def of_map(self, variable: nn.Variable) -> str:
        """Return the name of height and width of a map (N, C, H, W), (2,)."""
        return self._taken(self._graph.name(variable), [2, 3], 'height_and_width')

    def batch(self, image: str) -> str:
        """Return the name of the number of images, (1,)."""
        return self._taken(image, [0], 'batch')

    def numbers(self, values: list[int], name: str) -> str:
        """Return the name of a constant list of numbers, (N,)."""
        return self._graph.constant(np.array(values, np.int64), name)

    def joined(self, parts: list[int | str], out: str) -> str:
        """Return the name of a list of numbers.

        Args:
            parts: Constant numbers, and names of tensors (N,).
            out: Preferred name of the result.
        """
        names: list[str] = []
        constants: list[int] = []
        for part in [*parts, '']:
            if isinstance(part, int):
                constants.append(part)
                continue
            if constants:
                names.append(self.numbers(constants, f'{out}/constant'))
                constants = []
            names += [part] * bool(part)
        if len(names) == 1:
            return names[0]
        return self._graph.node('Concat', names, self._graph.unused(out), axis=0)

    def computed(self, kind: str, name: str, value: int, out: str) -> str:
        """Return the name of a tensor after an operator with one number, such as ``Mul``."""
        number = self.numbers([value], f'number/{value}')
        return self._graph.node(kind, [name, number], self._graph.unused(out))

    def _taken(self, source: str, axes: list[int], title: str) -> str:
        key = source, *map(str, axes)
        if key not in self._known:
            graph, prefix = self._graph, f'{source}/size'
            if (source,) not in self._known:
                self._known[source,] = graph.node('Shape', [source], graph.unused(prefix))
            indices = self.numbers(axes, f'axes/{title}')
            shape, out = self._known[source,], graph.unused(f'{prefix}/{title}')
            self._known[key] = graph.node('Gather', [shape, indices], out, axis=0)
        return self._known[key]
