"""A graph of NNabla as two files, for a program that has no NNabla to run it.

``graph.json`` lists the functions in the order in which they run, with their arguments; tensors are
numbers. ``tensors.npz`` has the values of those that no function computes: the parameters.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import nnabla as nn
import numpy as np

from common.files import replacing
from layers.graph import functions

GRAPH, TENSORS = 'graph.json', 'tensors.npz'


def write(folder: Path, inputs: Sequence[nn.Variable], outputs: Sequence[nn.Variable]):
    """Write the graph that computes ``outputs`` from ``inputs`` into ``folder``.

    Every other variable without a function is written with its value. Raises ``UserError`` when the
    files cannot be written.
    """
    document, tensors = describe(inputs, outputs)
    with replacing(folder / TENSORS) as temporary:
        np.savez(temporary, **tensors)
    with replacing(folder / GRAPH) as temporary:
        temporary.write_text(json.dumps(document))


def describe(
    inputs: Sequence[nn.Variable], outputs: Sequence[nn.Variable]
) -> tuple[dict, dict[str, np.ndarray]]:
    """What is written: the graph, and arrays by the number of their tensor.

    ``trained`` are the numbers of the tensors that have gradients.
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
