"""Compiled models of several input shapes stay in memory."""

from collections import Counter

import pytest

from common import machine
from engine.backends import openvino
from engine.backends.base import MIN_CACHED_SHAPES
from engine.inference.test_time import Protocol
from support import backend_runs, stand_ins
from support.backend_runs import EXPORTS, create_backend, random_input

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
COMPILING_METHODS = 'compile', 'load'


@pytest.mark.parametrize('name', [*EXPORTS, 'auto'])
def test_models_of_all_scales_stay_cached(tiny, disk_cache, name, monkeypatch):
    monkeypatch.setattr(machine, 'free_memory', lambda: 1 << 60)
    other, image = (
        backend_runs.predictor_with(name, tiny.network, disk_cache),
        stand_ins.image(64, 96),
    )
    protocol = Protocol(scales=SCALES, flip=True)
    other.labels(image, protocol)
    runtimes = ['openvino.OpenVINO', 'onnxruntime.ONNXRuntime']
    for failing in (
        f'engine.backends.{runtime}.{do}' for runtime in runtimes for do in COMPILING_METHODS
    ):
        monkeypatch.setattr(failing, backend_runs.fail_if_called)
    for _ in range(2):
        other.labels(image[::-1], protocol)


@pytest.mark.parametrize('free, count', [(0, MIN_CACHED_SHAPES), (1 << 60, len(SCALES))])
def test_free_memory_limits_the_number_of_cached_shapes(tiny, monkeypatch, free, count):
    monkeypatch.setattr(machine, 'free_memory', lambda: free)
    for _ in range(2):
        tiny.labels(stand_ins.image(64, 96), Protocol(scales=SCALES))
    assert len(tiny.backend._graphs) == count
    tiny.labels(stand_ins.image(90, 90), Protocol(scales=SCALES, window=(32, 32)))
    for width in range(32, 80, 4):  # all windows have one shape: back to the minimum
        tiny.labels(stand_ins.image(32, width))
    assert len(tiny.backend._graphs) == MIN_CACHED_SHAPES


def test_models_of_the_most_recent_shapes_stay_in_memory(tiny, disk_cache, monkeypatch):
    loads = Counter()
    load = openvino.OpenVINO.load
    monkeypatch.setattr(
        openvino.OpenVINO, 'load', lambda self, data: loads.update([1]) or load(self, data)
    )
    made = create_backend('openvino', tiny, disk_cache)
    shapes = [(32, 32 + 4 * i) for i in range(MIN_CACHED_SHAPES + 1)]
    for shape in [*shapes, *shapes[1:]]:
        made.run(random_input(tiny, *shape))
    assert not loads
    made.run(random_input(tiny, *shapes[0]))
    assert loads[1] == 1
    made.close()
    made.run(random_input(tiny, *shapes[0]))
    assert loads[1] == 2
