"""Keep NNabla's recomputation correct: exclude variables that it must not free."""

import nnabla as nn

from layers import graph

# Functions whose backward pass reads their inputs without using the values (nnabla 1.39, include/
# nbla/function/utils/base_transform_unary.hpp and base_transform_binary.hpp: the classes that are
# declared not to depend on their inputs).
SPURIOUS_READERS = (
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


def keep_inputs_of_spurious_readers(*outputs: nn.Variable) -> None:
    """Exclude the inputs of ``SPURIOUS_READERS`` in the graph from recomputation.

    A backward pass recomputes a freed array when a function needs its values. Once any function has
    read the array, NNabla no longer treats it as freed, although its values are arbitrary. If one
    of ``SPURIOUS_READERS`` reads the freed output of a ReLU first, the backward pass of the ReLU
    uses arbitrary values. All gradients before the ReLU are then wrong. The same happens to any
    second function that reads the output. No other variable is excluded.

    Args:
        outputs: Outputs of the graph.
    """
    for function in graph.functions(*outputs):
        if function.info.type_name in SPURIOUS_READERS:
            for variable in function.inputs:
                variable.recompute = False
