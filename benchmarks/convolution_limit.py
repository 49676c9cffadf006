"""The peak convolution rate of the CPU, measured with one large convolution in OpenVINO.

Arithmetic alone limits a convolution with many input and output channels. A network also moves
memory, so it cannot exceed this rate (multiply-accumulates per second) in the same precision.
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
RUNS_PER_TURN = 5  # the fastest counts
CONVOLUTION_NAME = f'one 3x3 convolution of {CHANNELS} channels'


class ConvolutionLimit:
    """The convolution in one precision.

    Attributes:
        best: Highest rate so far, in GMAC/s; None without OpenVINO or where it lacks the precision.
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
        """Time a few runs and update ``best``."""
        if self._model is None:
            return
        seconds = []
        for _ in range(RUNS_PER_TURN):
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
