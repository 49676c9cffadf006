"""Find out how the maps of a network follow the size of its image, for files of any size.

NNabla's graphs have fixed sizes. The same network is built at several sizes, and the graphs are
compared function by function. What is equal in all of them becomes part of the file; what differs
must be computed from the size of a map, or the network cannot be exported with a free size.
"""

from collections.abc import Mapping, Sequence

import nnabla as nn
from nnabla.function import Function

from engine.onnx.errors import UnsupportedError
from layers.graph import functions

# Arguments that may follow the size of the image, by function type; the converters examine them.
FOLLOWING = {'Interpolate': ('output_size',), 'Reshape': ('shape',), 'Slice': ('start', 'stop')}
Shape = tuple[int, ...]


class FreeSizes:
    """The graph of a network at one or several sizes of the image; nothing is free with one.

    Args:
        graphs: Input and output variables of the graph by name, at each size. The first graph is
            the one to export.

    Raises:
        UnsupportedError: The graphs differ in more than sizes.
    """

    def __init__(self, graphs: Sequence[Mapping[str, nn.Variable]]):
        orders = [functions(*variables.values()) for variables in graphs]
        if len({tuple(each.info.type_name for each in order) for order in orders}) > 1:
            raise UnsupportedError('its graph has other functions at other sizes of the image')
        self._same = {each[0]: each for each in zip(*orders)}
        self._shapes: dict[nn.Variable, list[Shape]] = {}
        for variables in zip(*(each.values() for each in graphs)):
            self._add(variables)
        for same in self._same.values():
            for variables in zip(*((*each.inputs, *each.outputs) for each in same)):
                self._add(variables)

    def _add(self, variables: Sequence[nn.Variable]) -> None:
        self._shapes[variables[0]] = [tuple(variable.shape) for variable in variables]

    def same(self, function: Function) -> tuple[Function, ...]:
        """Return a function of the first graph as it is in each graph."""
        return self._same[function]

    def lengths(self, variable: nn.Variable, axis: int) -> list[int]:
        """Return the length of an axis of a variable of the first graph in each graph."""
        return [shape[axis] for shape in self._shapes[variable]]

    def varies(self, variable: nn.Variable, axis: int) -> bool:
        """Return whether the length of an axis follows the size of the image."""
        return len(set(self.lengths(variable, axis))) > 1

    def require_constant(self, variable: nn.Variable, name: str) -> None:
        """Raise ``UnsupportedError`` if the shape of a constant follows the size of the image."""
        if any(shape != tuple(variable.shape) for shape in self._shapes[variable]):
            raise follows_size(f'the shape of the constant {name}')

    def require_fixed_arguments(self, function: Function) -> None:
        """Raise ``UnsupportedError`` if arguments other than those in FOLLOWING differ."""
        kind = function.info.type_name
        for name, value in function.info.args.items():
            differs = any(each.info.args[name] != value for each in self.same(function))
            if differs and name not in FOLLOWING.get(kind, ()):
                raise follows_size(f"{name} of NNabla's function {kind}")


def follows_size(what: str) -> UnsupportedError:
    """Return the error for something that a file of a free size cannot compute."""
    return UnsupportedError(
        f'{what} follows the size of the image in a way that no ONNX operator does'
    )
