"""From an image file to a file of class indices with one backend, in a process of its own.

process.ask(start, task, backend, precision)
logits = process.ask(first_logits)
device, whole, peak = process.ask(turn, 0.5)
"""

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

import models
from benchmarks import plain
from benchmarks.memory import own_peak_mib
from datasets import image_files
from engine.backends.base import Backend
from engine.backends.calibration import Calibration
from engine.backends.disk_cache import DiskCache
from engine.backends.select import create
from engine.backends.settings import BackendSettings
from engine.device import context
from engine.inference import predictor

NATIVE = ('nnabla', plain.NAME)  # the backends that are NNabla itself
BAND = 1 << 20  # values that are resized at a time, as in the predictor


@dataclass(frozen=True)
class PipelineTask:
    """What all contestants do: a network of ``config`` with ``weights``, and one ``image``.

    input: a file with the prepared input, float32 (1, 3, H, W). context: ``cpu`` or ``cudnn``.
    calibration: the images that the ranges of 8-bit numbers are found on.
    """

    config: Mapping
    weights: Path
    image: Path
    input: Path
    size: tuple[int, int]
    context: str
    threads: int
    calibration: tuple[Path, ...] = ()
    device: int = 0


class Pipeline:
    """A network that a backend runs; what it keeps for later goes into the folder ``kept``.

    Raises ``UserError`` for a backend or a precision that is not there.
    """

    def __init__(self, task: PipelineTask, backend: str, precision: str, kept: Path):
        self._task = task
        half = backend in NATIVE and precision == 'float16'
        choice = context.use(task.context, 'half' if half else 'float', task.device)
        self._network = models.create(task.config)
        self._predictor = predictor.Predictor(self._network)  # registers the parameters
        models.weights.load(task.weights)
        self._backend: Backend | plain.Plain
        if backend == plain.NAME:
            self._backend = plain.Plain(self._network)
            return
        settings = BackendSettings(
            backend,
            'float32' if half else precision,
            threads=None if backend == 'nnabla' else task.threads,
        )
        images = Calibration(self._network, task.calibration) if precision == 'int8' else None
        self._backend = create(
            settings, self._network, choice, cache=DiskCache(kept), calibration=images
        )
        if choice.name == 'cudnn' and backend == 'nnabla':
            self.stay_on_device()

    @property
    def used(self) -> str:
        """The backends that have computed."""
        return ', '.join(sorted(self._backend.used))

    def logits(self) -> np.ndarray:
        """Of the task's input, (1, num_classes, h, w)."""
        return self._backend.run(np.load(self._task.input))

    def stay_on_device(self):
        """Normalise images and resize logits where the network runs, as the commands do on a GPU:
        the seconds from input to logits are then those of another run.
        """
        self._predictor.backend = self._backend
        self._predictor.stay_on_device()

    def run(self) -> tuple[float, float]:
        """Seconds from input to logits, and from the image file to the encoded class indices."""
        started = time.perf_counter()
        image = image_files.read_image(self._task.image)
        classes, device = self.classes(image)
        cv2.imencode('.png', classes)
        whole = time.perf_counter() - started
        return self._maps(image)[1] if device is None else device, whole

    def classes(self, image: np.ndarray) -> tuple[np.ndarray, float | None]:
        """Class indices, ``uint8`` (H, W), of an image, and the seconds from input to logits; None
        where they are not apart from the rest.
        """
        if self._predictor.on_device:
            return self._predictor.labels(image), None
        maps, seconds = self._maps(image)
        return labels(maps, self._task.size), seconds

    def _maps(self, image):
        """The logits of an image, (num_classes, h, w), and the seconds that they took."""
        x = predictor.normalise(image, self._network.info)[None]
        before = time.perf_counter()
        maps = self._backend.run(x)[0]
        return maps, time.perf_counter() - before


def labels(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Class indices, ``uint8`` (H, W), of logits (num_classes, h, w), a band of rows at a time."""
    height, width = size
    result = np.empty(size, np.uint8)
    step = max(1, BAND // (maps.shape[0] * width))
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        result[rows] = predictor.resize_rows(maps, size, rows, width).argmax(axis=0)
    return result


_pipeline: Pipeline  # of this process, a contestant's; see start


def start(task: PipelineTask, backend: str, precision: str, kept: Path):
    """Prepare this process."""
    global _pipeline
    _pipeline = Pipeline(task, backend, precision, kept)


def first_logits() -> tuple[np.ndarray, str]:
    """The logits of the task's input, and the names of the backends that have computed them."""
    return _pipeline.logits(), _pipeline.used


def turn(least_seconds: float) -> tuple[float, float, float]:
    """As many runs as fit into some seconds: the median of their seconds from input to logits, that
    from file to file, and the most resident memory so far in MiB.
    """
    runs = [_pipeline.run()]
    while sum(whole for _, whole in runs) < least_seconds:
        runs.append(_pipeline.run())
    device, whole = (statistics.median(each) for each in zip(*runs))
    return device, whole, own_peak_mib()
