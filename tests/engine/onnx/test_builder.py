"""Names, constants, inputs and outputs of a built ONNX model."""

import nnabla as nn
import nnabla.functions as F
import numpy as np
import onnxruntime
import pytest

from engine.onnx.builder import build_model
from layers import functions as L
from support.onnx_graphs import SHAPE, exported, image

BUILD = L.Build()


def test_a_dynamic_batch_needs_a_graph_for_several_images():
    with pytest.raises(ValueError, match='2 images or more'):
        exported(F.relu, 1, dynamic_batch=True)


def test_names_come_from_the_parameters():
    def unit(x):
        with L.scope('stage'):
            x = L.bn_relu(L.convolution(x, 6, 3, '0', BUILD, groups=6), '1', BUILD)
            return L.convolution(x, 4, 1, '2', BUILD)

    model, _, _ = exported(unit, 1)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    assert shapes == {
        'stage/0/conv/W': (6, 1, 3, 3),
        'stage/0/conv/b': (6,),
        'stage/1/bn/gamma': (6,),
        'stage/1/bn/beta': (6,),
        'stage/1/bn/mean': (6,),
        'stage/1/bn/var': (6,),
        'stage/2/conv/W': (4, 6, 1, 1),
        'stage/2/conv/b': (4,),
    }
    nodes = [(node.op_type, node.name) for node in model.graph.node]
    assert nodes[:3] == [('Conv', 'stage/0/conv'), ('BatchNormalization', 'stage/1/bn'),
                         ('Relu', 'ReLU')]  # fmt: skip
    assert nodes[3][0] == 'Conv'


def test_shared_weights_are_stored_once():
    def twice(x):
        return L.convolution(L.convolution(x, 6, 3, 'c', BUILD), 6, 3, 'c', BUILD)

    model, _, _ = exported(twice, 1)
    assert sorted(tensor.name for tensor in model.graph.initializer) == ['c/conv/W', 'c/conv/b']
    assert [node.name for node in model.graph.node] == ['c/conv', 'y']


def test_several_outputs_and_an_input_as_output():
    x = nn.Variable((1, *SHAPE))
    y = F.relu(x)
    model = build_model({'y': y, 'again': y, 'x too': x}, {'x': x}, metadata={'n': [1]})
    assert {p.key: p.value for p in model.metadata_props} == {'n': '[1]'}
    assert model.opset_import[0].version == 13
    session = onnxruntime.InferenceSession(model.SerializeToString())
    results = session.run(['y', 'again', 'x too'], {'x': image(1)})
    assert all(np.array_equal(r, e) for r, e in zip(results, [np.maximum(image(1), 0)] * 2))
    assert np.array_equal(results[2], image(1))
