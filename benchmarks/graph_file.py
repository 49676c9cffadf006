"""Write an NNabla graph as two files, for a program without NNabla.

``graph.json`` lists the functions in execution order with their arguments, and refers to tensors by
number. ``tensors.npz`` holds the parameters, and all other tensors that are neither inputs nor
computed by a function.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import nnabla as nn
import numpy as np

from common.files import replacing
from layers.graph import functions

GRAPH, TENSORS = 'graph.json', 'tensors.npz'


def write_graph(folder: Path, inputs: Sequence[nn.Variable], outputs: Sequence[nn.Variable]):
    """Write the graph that computes ``outputs`` from ``inputs`` into ``folder``.

    Variables that are neither inputs nor computed by a function are written with their values.

    Raises:
        UserError: The files cannot be written.
    """
    document, tensors = describe_graph(inputs, outputs)
    with replacing(folder / TENSORS) as temporary:
        np.savez(temporary, **tensors)
    with replacing(folder / GRAPH) as temporary:
        temporary.write_text(json.dumps(document), encoding='utf-8')


def describe_graph(
    inputs: Sequence[nn.Variable], outputs: Sequence[nn.Variable]
) -> tuple[dict, dict[str, np.ndarray]]:
    """Return the content of the two files: the graph, and arrays by tensor number.

    The graph's entry ``trained`` lists the tensors that have gradients.
    """
    numbers: dict[nn.Variable, int] = {}
    tensors: dict[str, np.ndarray] = {}
    trained: list[int] = []

    def number(variable):
        return numbers.setdefault(variable, len(numbers))

    document = {'inputs': [number(variable) for variable in inputs], 'functions': []}
    for function in functions(*outputs):
        for variable in function.inputs:
            if variable not in numbers:
                key = number(variable)
                tensors[str(key)] = np.array(variable.d)
                if variable.need_grad:
                    trained.append(key)
        document['functions'].append(
            {
                'kind': function.info.type_name,
                'arguments': dict(function.info.args),
                'inputs': [number(variable) for variable in function.inputs],
                'outputs': [number(variable) for variable in function.outputs],
            }
        )
    document |= {'outputs': [number(variable) for variable in outputs], 'trained': trained}
    return document, tensors
