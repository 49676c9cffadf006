"""An ONNX graph under construction: nodes, constants, and the names of both."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import nnabla as nn
import numpy as np
from nnabla.function import Function

from engine.onnx.errors import UnsupportedError
from engine.onnx.free_sizes import FreeSizes
from engine.onnx.operators import OPERATORS, add_nodes
from engine.onnx.package import import_onnx
from engine.onnx.sizes import SizeNodes
from layers.graph import functions

if TYPE_CHECKING:
    from onnx import NodeProto

BATCH_DIMENSION, HEIGHT, WIDTH = 'batch', 'height', 'width'  # names of the free dimensions


class OnnxGraph:
    """An ONNX graph under construction.

    Args:
        inputs: Input variables by name.
        types: NumPy type names of the inputs that are not float32, by name.
        dynamic_batch: Whether the number of images is dynamic.
        free: What follows the size of the image.

    Attributes:
        nodes: Nodes in the order of computation.
        constants: Constant arrays by name.
        dynamic_batch: Whether the number of images is dynamic.
        free: What follows the size of the image.
        sizes: Nodes that compute sizes.
    """

    def __init__(
        self,
        inputs: Mapping[str, nn.Variable],
        types: Mapping[str, str],
        dynamic_batch: bool,
        free: FreeSizes,
    ):
        self.free, self.sizes = free, SizeNodes(self)
        self.nodes: list['NodeProto'] = []
        self.constants: dict[str, np.ndarray] = {}
        self.dynamic_batch = dynamic_batch
        self._helper = import_onnx().helper
        self._names: dict[nn.Variable, str] = {}
        self._wanted: dict[nn.Variable, str] = {}
        self._order: list[Function] = []
        self._used = set(inputs)
        self._parameters = {
            variable.data: name for name, variable in nn.get_parameters(grad_only=False).items()
        }
        self._first, self._image = next(iter(inputs.items()))
        self._batch_size = self._image.shape[0]
        if dynamic_batch and self._batch_size < 2:
            raise ValueError('dynamic_batch: build the graph for 2 images or more')
        for name, variable in inputs.items():
            self._names[variable] = name
            if name in types:
                self._names[variable] = self._cast(name, self.unused(f'{name}/float'), 'float32')

    def walk(self, outputs: Mapping[str, nn.Variable], types: Mapping[str, str]):
        """Add nodes for all functions between the inputs and ``outputs``.

        Args:
            outputs: Output variables by name.
            types: NumPy type names of the outputs that are not float32, by name.
        """
        self._wanted = {v: name for name, v in outputs.items() if name not in types}
        self._used.update(outputs)
        self._order = functions(*outputs.values())
        for function in self._order:
            self._convert(function)
        for name, variable in outputs.items():
            source = self.name(variable)
            if name in types:
                self._cast(source, name, types[name])
            elif source != name:
                self.node('Identity', [source], name)

    def _convert(self, function: Function):
        """Add the nodes of a function, unless it is converted or depends on no input."""
        result = function.outputs[0]
        if result in self._names or not any(v in self._names for v in function.inputs):
            return
        if self.dynamic_batch and result.shape[:1] != (self._batch_size,):
            self.require_per_image(function, 0)
        self.free.require_fixed_arguments(function)
        out = self._wanted.get(result) or self.unused(self._title(function))
        add_nodes(self, function, out)
        self._names[result] = out

    def map_of_size(self, resized: nn.Variable) -> nn.Variable | None:
        """Return a map that has the size of a resized one at all sizes of the image.

        It is converted, if that is to do, and does not depend on the resized map. None without one.

        Args:
            resized: A map (N, C, H, W) whose function is being converted.
        """

        def fits(variable: nn.Variable) -> bool:
            return variable.ndim == 4 and all(
                self.free.lengths(variable, axis) == self.free.lengths(resized, axis)
                for axis in (2, 3)
            )

        known = next(filter(fits, self._names), None)
        if known is not None:
            return known
        for function in self._order:
            found = function.outputs[0]
            needed = functions(found) if fits(found) else []
            if needed and resized.parent not in needed:
                for each in needed:
                    self._convert(each)
                if found in self._names:
                    return found
        return None

    def name(self, variable: nn.Variable) -> str:
        """Return a variable's name; a variable that depends on no input becomes a constant."""
        return self._names.get(variable) or self.constant_of(variable, variable.shape)

    def constant_of(self, variable: nn.Variable, shape: tuple[int, ...]) -> str:
        """Add a variable that depends on no input as a constant, and return its name.

        Args:
            variable: The variable.
            shape: The constant's shape.

        Raises:
            UnsupportedError: The variable depends on an input.
        """
        if variable in self._names:
            raise UnsupportedError('weights computed from the image cannot be exported')
        origin = self._origin(variable)
        self.free.require_constant(variable, origin)
        if variable.parent:
            variable.forward()
        array = np.array(variable.d, np.float32).reshape(shape)
        return self.constant(array, origin)

    def constant(self, array: np.ndarray, name: str) -> str:
        """Add a constant and return its name.

        Args:
            array: The values.
            name: The preferred name; it gets a number if something else has it.
        """
        array = np.asarray(array)
        known = self.constants.get(name)
        if known is not None and known.shape == array.shape and np.array_equal(known, array):
            return name
        name = self.unused(name)
        self.constants[name] = array
        return name

    def node(self, kind: str, inputs: list[str], out: str, **attributes) -> str:
        """Add a node, named after its output, and return that name.

        Args:
            kind: The ONNX operator.
            inputs: Names of the inputs.
            out: Name of the output.
            **attributes: The operator's attributes.
        """
        assert kind in OPERATORS, f'add {kind} to OPERATORS, or no reader accepts the file'
        make_node = self._helper.make_node
        self.nodes.append(make_node(kind, inputs, [out], name=out, **attributes))
        return out

    def _cast(self, source: str, out: str, dtype: str) -> str:
        to = self._helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.node('Cast', [source], out, to=to)

    def batch(self) -> str:
        """Return the name of a node that computes the number of images, (1,) int64."""
        return self.sizes.batch(self._first)

    def dimensions(self, variable: nn.Variable, name: str) -> list[int | str]:
        """Return the lengths of the axes of an input or output; a free one has a name."""
        free = self.free
        found: list[int | str] = list(variable.shape)
        of_image = {tuple(free.lengths(self._image, 2)): HEIGHT} if self._image.ndim == 4 else {}
        if of_image:
            of_image.setdefault(tuple(free.lengths(self._image, 3)), WIDTH)
        for axis in range(variable.ndim):
            if free.varies(variable, axis):
                lengths = tuple(free.lengths(variable, axis))
                found[axis] = of_image.get(lengths, f'{name}_axis_{axis}')
        if self.dynamic_batch:
            found[0] = BATCH_DIMENSION
        return found

    def require_per_image(self, function, *axes: int):
        """Reject a function that works across images if their number is dynamic.

        Args:
            function: The NNabla function.
            *axes: The axes along which the function works.

        Raises:
            UnsupportedError: The axes include that of the images, whose number is dynamic.
        """
        if self.dynamic_batch and 0 in axes:
            raise UnsupportedError(
                f"NNabla's function {function.info.type_name} mixes or counts the images of a "
                'batch, so their number cannot be dynamic: set --batch-size'
            )

    def _title(self, function) -> str:
        """Return a node's name: the scope of its parameters, or the function's type."""
        for variable in function.inputs[1:]:
            if variable not in self._names and (origin := self._origin(variable)) != 'constant':
                return origin.rpartition('/')[0] or function.info.type_name
        return function.info.type_name

    def _origin(self, variable) -> str:
        """Return the name of the parameter from which a constant is computed, or ``constant``.

        Raises:
            UnsupportedError: The constant is computed from a variable that is not a parameter.
        """
        if variable.data in self._parameters:
            return self._parameters[variable.data]
        if not variable.parent:
            raise UnsupportedError(
                'the graph depends on a variable that is neither an input nor a parameter'
            )
        names = {self._origin(v) for v in variable.parent.inputs}
        return names.pop() if len(names) == 1 else 'constant'

    def unused(self, name: str) -> str:
        """Return ``name``, or the first unused of ``name_1``, ``name_2``, ..."""
        number, free = 0, name
        while free in self._used:
            number += 1
            free = f'{name}_{number}'
        self._used.add(free)
        return free
