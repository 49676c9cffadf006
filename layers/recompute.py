"""Keep NNabla's recomputation right: mark what it must not free."""

import nnabla as nn

from layers import graph

# Functions whose backward pass reads their inputs without using them (nnabla 1.39, include/nbla/
# function/utils/base_transform_unary.hpp and base_transform_binary.hpp: the classes that are
# declared not to depend on them).
TOUCHING = (
    'AddScalar',
    'BcAdd2',
    'Ceil',
    'Exp',
    'Floor',
    'MulScalar',
    'RSubScalar',
    'Round',
    'Sigmoid',
    'Sign',
    'Sub2',
    'Tanh',
)


def keep_touched(*outputs: nn.Variable) -> None:
    """Exclude the inputs of ``TOUCHING`` functions in the graph of ``outputs`` from recomputation.

    A backward pass computes a freed array again when a function needs it. An array that is read
    counts as not freed any more, although its values are arbitrary then. So where one of these
    functions reads the freed output of a ReLU, the ReLU, which needs that output, gets garbage, and
    so do all gradients before it; the same happens to a second function that takes that output. No
    other variable is kept.
    """
    for function in graph.functions(*outputs):
        if function.info.type_name in TOUCHING:
            for variable in function.inputs:
                variable.recompute = False
