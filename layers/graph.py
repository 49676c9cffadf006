"""Static analysis of a graph: execution order, multiply-accumulates, activation memory.

Results depend on shapes only: no values are read, and no activations are allocated.
"""

import heapq
from collections.abc import Iterable

import nnabla as nn
import numpy as np
from nnabla.function import Function

CONVOLUTIONS = ('Convolution', 'DepthwiseConvolution')
WITH_PARAMETERS = (*CONVOLUTIONS, 'BatchNormalization')  # all inputs but the first are parameters
FLOAT32_BYTES = 4


def functions(*outputs: nn.Variable) -> list[Function]:
    """Return the functions that NNabla runs for ``outputs``, in execution order."""
    found: dict[Function, None] = {}
    for output in outputs:
        output.visit(lambda function: found.setdefault(function))
    return list(found)


def count_functions(output: nn.Variable) -> int:
    """Return the number of functions that NNabla runs for ``output``."""
    return len(functions(output))


def data_inputs(function: Function) -> list[nn.Variable]:
    """Return the feature maps that a function reads, without its parameters."""
    return function.inputs[: 1 if function.info.type_name in WITH_PARAMETERS else None]


def depending_on(image: nn.Variable, order: Iterable[Function]) -> list[Function]:
    """Return the functions that depend on ``image``; all others transform parameters only.

    Args:
        image: Input of the graph.
        order: Functions in execution order.
    """
    reached, found = {image}, []
    for function in order:
        if not reached.isdisjoint(function.inputs):
            reached.update(function.outputs)
            found.append(function)
    return found


def multiply_accumulates(function: Function) -> int:
    """Return the multiply-accumulates of a convolution without its bias; 0 for other functions."""
    if function.info.type_name not in CONVOLUTIONS:
        return 0
    return function.outputs[0].size * int(np.prod(function.inputs[1].shape[1:]))


def output_bytes(function: Function) -> int:
    """Return the size of a function's outputs as float32, in bytes."""
    return FLOAT32_BYTES * sum(output.size for output in function.outputs)


def peak_bytes(order: Iterable[Function], kept: Iterable[nn.Variable]) -> int:
    """Return the peak memory of function outputs as float32, in bytes.

    Args:
        order: Functions in execution order. Each output is freed after the last function that reads
            it, as ``forward(clear_buffer=True)`` does.
        kept: Variables that are never freed.
    """
    order = list(order)
    readers = {variable: i for i, function in enumerate(order) for variable in function.inputs}
    last_reader = readers | dict.fromkeys(kept)
    live, peak, made = 0, 0, set()
    for i, function in enumerate(order):
        made.update(function.outputs)
        live += output_bytes(function)
        peak = max(peak, live)
        finished = {v for v in function.inputs if v in made and last_reader[v] == i}
        live -= FLOAT32_BYTES * sum(variable.size for variable in finished)
    return peak


def backward_order(output: nn.Variable) -> list[Function]:
    """Return the functions of a backward pass from ``output``, in execution order.

    NNabla runs the function with the longest path from the inputs first; among equals, the one it
    met first (nnabla, src/nbla/computation_graph/variable.cpp, visit_function_backward).
    """
    depths: dict[Function, int] = {}
    for function in functions(output):
        parents = (v.parent for v in function.inputs if v.parent is not None)
        depths[function] = 1 + max((depths.get(parent, 0) for parent in parents), default=0)
    order: list[Function] = []
    waiting: list[tuple[int, int, Function]] = []
    numbers: dict[Function, int] = {}

    def add(function: Function) -> None:
        if function not in numbers:
            numbers[function] = len(numbers)
            heapq.heappush(waiting, (-depths[function], numbers[function], function))

    if output.parent is not None:
        add(output.parent)
    while waiting:
        _, _, function = heapq.heappop(waiting)
        order.append(function)
        for variable in function.inputs:
            if variable.need_grad and variable.parent is not None:
                add(variable.parent)
    return order
