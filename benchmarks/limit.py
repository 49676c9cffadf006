"""What the processor can do at most: one large convolution, through OpenVINO.

With many channels on both sides it is bound by arithmetic alone, so its multiply-accumulates a
second are what a network, which also moves memory, cannot exceed in the same numbers.
"""

import time
from collections import OrderedDict
from contextlib import suppress

import nnabla as nn
import numpy as np

from engine.backends.errors import BackendError
from engine.backends.openvino import HINTS, OpenVINO
from engine.onnx.builder import build_model
from layers import functions as L

CHANNELS, HEIGHT, WIDTH = 256, 64, 128
GMAC = 9 * CHANNELS**2 * HEIGHT * WIDTH / 1e9
RUNS = 5  # of a turn, the fastest counts
NAME = f'one 3x3 convolution of {CHANNELS} channels'


class Limit:
    """The convolution in a precision; ``best`` is its highest rate so far, in GMAC/s, and None
    where OpenVINO is not there or has no such numbers.
    """

    def __init__(self, precision: str, threads: int):
        self.best, self._model = None, None
        self._input = np.random.RandomState(0).randn(1, CHANNELS, HEIGHT, WIDTH).astype(np.float32)
        if precision not in HINTS:
            return
        with suppress(ImportError, BackendError):
            backend = OpenVINO(precision, threads)
            self._model = backend.compile(_onnx(self._input.shape), [self._input])
            self._model.run(self._input)

    def turn(self):
        """Measure once more."""
        if self._model is None:
            return
        seconds = []
        for _ in range(RUNS):
            started = time.perf_counter()
            self._model.run(self._input)
            seconds.append(time.perf_counter() - started)
        self.best = max(self.best or 0.0, GMAC / min(seconds))


def _onnx(shape) -> bytes:
    cpu = nn.Context(['cpu:float'], 'CpuCachedArray', '0')
    with nn.context_scope(cpu), nn.parameter_scope('limit', OrderedDict()):
        x = nn.Variable(shape)
        y = L.convolution(x, CHANNELS, 3, 'convolution', L.Build())
        return build_model({'y': y}, {'x': x}).SerializeToString()
