"""ONNX Runtime: models, payloads, and GPUs that it does not support."""

import numpy as np
import onnx
import onnxruntime as package
import pytest
from onnx import helper

from common import machine
from engine.backends import onnxruntime
from engine.backends.errors import BackendError


@pytest.fixture
def doubling():
    """The content of an ONNX file that doubles its input, (1, 3, 2, 2)."""
    image, maps = (
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, (1, 3, 2, 2))
        for name in ('image', 'maps')
    )
    graph = helper.make_graph(
        [helper.make_node('Add', ['image'] * 2, ['maps'])], 'x', [image], [maps]
    )
    opset = helper.make_opsetid('', 13)
    return helper.make_model(graph, ir_version=8, opset_imports=[opset]).SerializeToString()


def test_a_model_computes_its_graph_also_when_restored_from_its_payload(doubling):
    runtime = onnxruntime.ONNXRuntime(threads=2)
    model = runtime.compile(doubling, None)
    x = np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2)
    assert np.array_equal(model.run(x), 2 * x)
    assert np.array_equal(runtime.load(model.payload()).run(x), 2 * x)
    assert str(runtime) == f'onnxruntime {package.__version__} on the CPU, 2 threads'


def test_a_gpu_on_which_a_session_does_not_start_is_refused(doubling, monkeypatch):
    """ONNX Runtime itself would compute on the CPU."""
    monkeypatch.setattr(machine, 'describe', lambda: {'GPU': 'none'})
    monkeypatch.setattr(package, 'get_available_providers', lambda: ['CUDAExecutionProvider'])
    session = package.InferenceSession
    monkeypatch.setattr(
        package,
        'InferenceSession',
        lambda content, options, providers: session(
            content, options, providers=['CPUExecutionProvider']
        ),
    )
    with pytest.raises(BackendError, match='CUDAExecutionProvider cannot be started'):
        onnxruntime.ONNXRuntime(device=0).compile(doubling, None)
