"""Reading NNB, the format of NNabla's C runtime, for which NNabla itself has a writer only.

Reference: sony/nnabla, v1.39.0, python/src/nnabla/utils/converter/nnablart/nnb.py. The file is a
header, the offsets of all lists, and the lists; numbers are little-endian.
"""

import importlib
import ssl
import struct
from dataclasses import dataclass
from pathlib import Path

import nnabla as nn
import nnabla.function_bases as function_bases
import numpy as np

HEADER = '<IIiIiIiIiIiIII'
VARIABLE = '<IiIB3xi'  # number, shape, type, place of a parameter or minus a buffer's
FUNCTION = '<HHiIiI'  # type, implementation, inputs, outputs
FLOAT32 = 0
LISTS = ('repeated int64', 'Shape')


@dataclass(frozen=True)
class Call:
    """A function: type and arguments as NNabla calls them, inputs and outputs by number."""

    kind: str
    arguments: dict
    inputs: list[int]
    outputs: list[int]


@dataclass(frozen=True)
class Contents:
    """What is in an NNB file.

    inputs, outputs: numbers of variables. shapes: of all variables. parameters: arrays by the
    number of the variable. calls: the functions in the order of computation.
    """

    inputs: list[int]
    outputs: list[int]
    shapes: list[tuple[int, ...]]
    parameters: dict[int, np.ndarray]
    calls: list[Call]


def read(path: Path) -> Contents:
    """Raises ``ValueError`` or ``struct.error`` when the file is no NNB, or not of float32."""
    content = Path(path).read_bytes()
    _, _, _, _, *lists, index_count, memory_size = struct.unpack_from(HEADER, content)
    start = struct.calcsize(HEADER)
    index = struct.unpack_from(f'<{index_count}I', content, start)
    memory = content[start + 4 * index_count :]
    if len(memory) != memory_size:
        raise ValueError(f'{path}: {len(memory)} bytes instead of {memory_size}')

    def numbers(count, place, kind='I'):
        return list(struct.unpack_from(f'<{count}{kind}', memory, index[place]))

    variables, functions, inputs, outputs = (
        numbers(*lists[i : i + 2]) for i in range(0, len(lists), 2)
    )
    shapes, parameters = [], {}
    for number, place in enumerate(variables):
        _, rank, shape, kind, data = struct.unpack_from(VARIABLE, memory, index[place])
        shapes.append(tuple(numbers(rank, shape)))
        if data >= 0:
            if kind & 0xF != FLOAT32:
                raise ValueError(f'{path}: a parameter that is not float32')
            array = np.frombuffer(memory, '<f4', int(np.prod(shapes[-1])), index[data])
            parameters[number] = array.reshape(shapes[-1])
    known = _functions_by_number()
    calls = [_call(memory, index[place], numbers, known) for place in functions]
    return Contents(inputs, outputs, shapes, parameters, calls)


def run(contents: Contents, x: np.ndarray) -> np.ndarray:
    """The output for an input, computed by NNabla's functions of the same names.

    Raises ``ValueError`` when a function returns another shape than the file says.
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
    """NNabla's converter; its import changes how the process opens HTTPS, which is undone."""
    https = ssl._create_default_https_context
    try:
        return importlib.import_module('nnabla.utils.converter')
    finally:
        ssl._create_default_https_context = https


def _functions_by_number() -> dict[int, dict]:
    """What NNabla says about its functions; it reads long files for it."""
    converter = import_converter()
    levels, information = converter.get_api_level_info(), converter.get_function_info()
    levels.set_api_level(-1)
    return {levels.get_func_id(name): information[name] for name in levels.get_function_list()}


def _call(memory, offset, numbers, known) -> Call:
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
    return Call(information['snake_name'], arguments, numbers(*both[:2]), numbers(*both[2:]))
