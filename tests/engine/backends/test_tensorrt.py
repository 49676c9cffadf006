"""TensorRT, by a stand-in for its package."""

import sys
from types import SimpleNamespace

from engine.backends import registry, select, tensorrt
from engine.backends.registry import RuntimeRequest
from engine.device.context import DeviceChoice


def test_threads_reach_tensorrt(monkeypatch):
    """ONNX Runtime uses them for operators that remain on the CPU; TensorRT is a stand-in here."""
    monkeypatch.setitem(sys.modules, 'tensorrt', SimpleNamespace(__version__='10'))
    monkeypatch.setattr(
        'onnxruntime.get_available_providers', lambda: [tensorrt.PROVIDER, 'CUDAExecutionProvider']
    )
    request = RuntimeRequest('float32', 3, DeviceChoice('cudnn', 'float'))
    assert select.make_runtime(registry.registered()['tensorrt'], request).threads == 3
