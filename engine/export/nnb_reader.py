"""Read and run NNB, the format of NNabla's C runtime; NNabla itself has a writer only.

Reference: sony/nnabla, v1.39.0, python/src/nnabla/utils/converter/nnablart/nnb.py. The file
consists of a header, the offsets of all lists, and the lists; numbers are little-endian.
"""

import importlib
import math
import ssl
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nnabla as nn
import nnabla.function_bases as function_bases
import numpy as np

from common.errors import UserError

HEADER = '<IIiIiIiIiIiIII'
# Index, shape, type, and the place of a parameter's data or the negated place of a buffer.
VARIABLE = '<IiIB3xi'
FUNCTION = '<HHiIiI'  # type, implementation, inputs, outputs
FLOAT32 = 0
LISTS = ('repeated int64', 'Shape')


@dataclass(frozen=True)
class NnbFunction:
    """A function call in an NNB file.

    Attributes:
        kind: NNabla's name of the function.
        arguments: Arguments by NNabla's names.
        inputs: Indices of the input variables.
        outputs: Indices of the output variables.
    """

    kind: str
    arguments: dict
    inputs: list[int]
    outputs: list[int]


@dataclass(frozen=True)
class NnbContents:
    """The content of an NNB file.

    Attributes:
        inputs: Indices of the network's input variables.
        outputs: Indices of the network's output variables.
        shapes: Shapes of all variables.
        parameters: Arrays by the index of their variable.
        calls: Functions in the order of computation.
    """

    inputs: list[int]
    outputs: list[int]
    shapes: list[tuple[int, ...]]
    parameters: dict[int, np.ndarray]
    calls: list[NnbFunction]


def read_nnb(path: Path) -> NnbContents:
    """Read an NNB file.

    Raises:
        UserError: The file is damaged or no NNB file, or a parameter is not float32.
    """
    try:
        return _parse(path.read_bytes())
    except (ValueError, LookupError, struct.error, OverflowError, MemoryError) as error:
        raise UserError(
            f'{path} is damaged or not an NNB file ({error}); export it again'
        ) from error


def _parse(content: bytes) -> NnbContents:
    _, _, _, _, *lists, index_count, memory_size = struct.unpack_from(HEADER, content)
    start = struct.calcsize(HEADER)
    index = struct.unpack_from(f'<{index_count}I', content, start)
    memory = content[start + 4 * index_count :]
    if len(memory) != memory_size:
        raise ValueError(f'{len(memory)} bytes instead of {memory_size}')
    left = len(memory)

    def numbers(count, place, kind='I'):
        nonlocal left
        left -= count
        if left < 0:  # lists may share their place, so their lengths need not fit the file
            raise ValueError('its lists are longer than the file')
        return list(struct.unpack_from(f'<{count}{kind}', memory, _at(index, place)))

    variables, functions, inputs, outputs = (
        numbers(*lists[i : i + 2]) for i in range(0, len(lists), 2)
    )
    shapes, parameters = [], {}
    for number, place in enumerate(variables):
        _, rank, shape, kind, data = struct.unpack_from(VARIABLE, memory, _at(index, place))
        shapes.append(tuple(numbers(rank, shape)))
        if data >= 0:
            if kind & 0xF != FLOAT32:
                raise ValueError('a parameter is not float32')
            array = np.frombuffer(memory, '<f4', math.prod(shapes[-1]), _at(index, data))
            parameters[number] = array.reshape(shapes[-1])
    known = _functions_by_number()
    calls = [_call(memory, _at(index, place), numbers, known) for place in functions]
    return NnbContents(inputs, outputs, shapes, parameters, calls)


def _at(index: Sequence[int], place: int) -> int:
    """Return the offset with a number; a negative number would count from the end."""
    if place < 0:
        raise ValueError(f'the place {place} in it is below 0')
    return index[place]


def run_nnb(contents: NnbContents, x: np.ndarray) -> np.ndarray:
    """Compute the output for an input with NNabla's functions of the same names.

    Args:
        contents: Content of an NNB file.
        x: Input of the network.

    Raises:
        ValueError: A function returns another shape than the file declares.
    """
    values = {n: nn.Variable.from_numpy_array(a) for n, a in contents.parameters.items()}
    values[contents.inputs[0]] = nn.Variable.from_numpy_array(x)
    for call in contents.calls:
        result = getattr(function_bases, call.kind)(
            *(values[number] for number in call.inputs), **call.arguments
        )
        (number,) = call.outputs
        if result.shape != contents.shapes[number]:
            raise ValueError(f'{call.kind}: {result.shape} instead of {contents.shapes[number]}')
        values[number] = result
    output = values[contents.outputs[0]]
    output.forward(clear_buffer=True)
    return np.array(output.d)


def import_converter():
    """Import NNabla's converter, and undo its change to the process's HTTPS context."""
    https = ssl._create_default_https_context
    try:
        return importlib.import_module('nnabla.utils.converter')
    finally:
        ssl._create_default_https_context = https


def _functions_by_number() -> dict[int, dict]:
    """Read NNabla's long files of function descriptions; return the descriptions by number."""
    converter = import_converter()
    levels, information = converter.get_api_level_info(), converter.get_function_info()
    levels.set_api_level(-1)
    return {levels.get_func_id(name): information[name] for name in levels.get_function_list()}


def _call(memory, offset, numbers, known) -> NnbFunction:
    number, _, *both = struct.unpack_from(FUNCTION, memory, offset)
    information = known[number]
    described = information.get('arguments', {})
    formats = [
        import_converter().type_to_pack_format(entry['type']) for entry in described.values()
    ]
    offset += struct.calcsize(FUNCTION)
    values = iter(struct.unpack_from('@' + ''.join(formats), memory, offset))
    arguments = {}
    for name, entry in described.items():
        value = next(values)
        if entry['type'] in LISTS:
            value = numbers(value, next(values), 'i')
        elif entry['type'] == 'bool':
            value = bool(value)
        elif entry['type'] == 'string':
            value = entry['available_values'][value]
        arguments[name] = value
    return NnbFunction(information['snake_name'], arguments, numbers(*both[:2]), numbers(*both[2:]))
