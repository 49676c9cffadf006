"""TensorRT, by a stand-in for its package."""

import sys
from pathlib import Path
from types import SimpleNamespace

import onnxruntime
import pytest

from engine.backends import registry, select, tensorrt
from engine.backends.errors import BackendError
from engine.backends.registry import RuntimeRequest
from engine.device.context import DeviceChoice


@pytest.fixture
def runtime(monkeypatch):
    """TensorRT in ONNX Runtime, where the package is a stand-in, and sessions write one engine."""
    monkeypatch.setitem(sys.modules, 'tensorrt', SimpleNamespace(__version__='10'))
    monkeypatch.setattr(
        onnxruntime, 'get_available_providers', lambda: [tensorrt.PROVIDER, 'CUDAExecutionProvider']
    )
    monkeypatch.setattr(onnxruntime, 'InferenceSession', Session)
    request = RuntimeRequest('float32', 3, DeviceChoice('cudnn', 'float'))
    return select.make_runtime(registry.registered()['tensorrt'], request)


class Session:
    """Builds an engine in the folder that it is given, unless it finds one there."""

    def __init__(self, onnx, options, providers):
        name, settings = providers[0]
        folder = Path(settings['trt_engine_cache_path'])
        self.found = [path.read_bytes() for path in folder.iterdir()]
        self.provider = name
        (folder / 'graph.engine').write_bytes(b'engine of ' + onnx)

    def get_providers(self):
        return [self.provider]

    def get_inputs(self):
        return [SimpleNamespace(name='image')]


def test_threads_reach_tensorrt(runtime):
    """ONNX Runtime uses them for operators that remain on the CPU."""
    assert runtime.threads == 3


def test_a_payload_contains_the_engines(runtime):
    built = runtime.compile(b'onnx', None)
    assert built._session.found == []
    again = runtime.load(built.payload())
    assert again._session.found == [b'engine of onnx']
    assert again.payload() == built.payload()
    with pytest.raises(BackendError, match='tensorrt cannot load the cached model'):
        runtime.load(b'engine of another version')
