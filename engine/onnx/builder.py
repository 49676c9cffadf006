"""Build an ONNX model from an NNabla graph.

    model = build_model({'logits': y}, {'image': x})

Every function that depends on an input becomes one or more nodes, everything else a constant.
Constants are named after the parameters, and nodes after the parameters' scopes. Batch norm remains
a node, because runtimes fold it. The builder requires the package onnx, but not NNabla's converter.
"""

import json
from collections.abc import Mapping, Sequence

import nnabla as nn
import numpy as np

from engine.onnx.free_sizes import FreeSizes
from engine.onnx.graph import OnnxGraph
from engine.onnx.package import import_onnx

OPSET = 13
IR_VERSION = 8  # the version for opsets 13 to 16; older runtimes reject newer versions


def build_model(
    outputs: Mapping[str, nn.Variable],
    inputs: Mapping[str, nn.Variable],
    *,
    types: Mapping[str, str] | None = None,
    dynamic_batch: bool = False,
    metadata: Mapping[str, object] | None = None,
    name: str = 'network',
    at_other_sizes: Sequence[Mapping[str, nn.Variable]] = (),
):
    """Convert the graph from ``inputs`` to ``outputs`` and check it with onnx.

    Args:
        outputs: Output variables, by their names in the model.
        inputs: Input variables, by their names in the model.
        types: NumPy type names of the inputs and outputs that are not float32, by name; these are
            cast. An index (NNabla's ``max`` with ``only_index``) needs an entry.
        dynamic_batch: Whether the first dimension of inputs and outputs is dynamic. The graph must
            then be built for 2 or more images, because a batch of 1 looks like any dimension of 1.
        metadata: Properties of the model by name. Text is stored unchanged, anything else as JSON.
        name: Name of the ONNX graph.
        at_other_sizes: Inputs and outputs of the same graph for images of other sizes. If there are
            any, the model takes images of every size.

    Returns:
        An ``onnx.ModelProto``.

    Raises:
        UnsupportedError: A function cannot be exported; the message names it.
        UserError: The package onnx is not installed.
    """
    onnx = import_onnx()
    types = types or {}
    free = FreeSizes([{**inputs, **outputs}, *at_other_sizes])
    graph = OnnxGraph(inputs, types, dynamic_batch, free)
    graph.walk(outputs, types)

    def infos(variables):
        for key, variable in variables.items():
            element = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(types.get(key, 'float32')))
            yield onnx.helper.make_tensor_value_info(key, element, graph.dimensions(variable, key))

    proto = onnx.helper.make_graph(
        graph.nodes,
        name,
        list(infos(inputs)),
        list(infos(outputs)),
        [onnx.numpy_helper.from_array(array, key) for key, array in graph.constants.items()],
    )
    model = onnx.helper.make_model(
        proto,
        opset_imports=[onnx.helper.make_opsetid('', OPSET)],
        ir_version=IR_VERSION,
        producer_name='nnseg',
    )
    properties = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in (metadata or {}).items()
    }
    onnx.helper.set_model_props(model, properties)
    onnx.checker.check_model(model, full_check=True)
    return model
