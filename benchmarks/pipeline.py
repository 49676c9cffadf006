"""Run one backend from an image file to encoded class indices, in a worker process.

process.call(start_pipeline, task, backend, precision, cache_folder)
logits, used = process.call(first_logits)
device, whole, peak = process.call(time_runs, 0.5)
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
from datasets.keys import ImageReading
from engine.backends.base import Backend
from engine.backends.calibration import Calibration
from engine.backends.disk_cache import DiskCache
from engine.backends.select import create
from engine.backends.settings import BackendSettings
from engine.device import context
from engine.inference import predictor
from engine.inference.resampling import resize_rows

NATIVE = ('nnabla', plain.NAME)  # the backends that run in NNabla
RESIZED_VALUES_PER_BAND = 1 << 20  # the predictor uses the same number


@dataclass(frozen=True)
class PipelineTask:
    """The network, the image and the device of all contestants.

    Attributes:
        config: Config of the network.
        weights: File of the weights.
        image: File of the image.
        input: File of the network's prepared input, (1, 3, H, W) float32.
        size: Height and width of the image.
        context: ``cpu`` or ``cudnn``.
        threads: Threads of a backend.
        calibration: Files of the images that calibrate int8.
        device: Index of the GPU.
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
    """A network on one backend."""

    def __init__(self, task: PipelineTask, backend: str, precision: str, cache_folder: Path):
        """Create the network, load its weights and prepare the backend.

        Args:
            task: Network, image and device.
            backend: Name of the backend, or ``plain``.
            precision: ``float32``, ``float16``, ``bfloat16`` or ``int8``.
            cache_folder: Folder for compiled models.

        Raises:
            UserError: The backend or the precision is not available.
        """
        self._task = task
        half = backend in NATIVE and precision == 'float16'
        choice = context.use(task.context, 'half' if half else 'float', task.device)
        self._network = models.create(task.config)
        self._predictor = predictor.Predictor(self._network)  # registers the parameters
        models.weights.load(task.weights)
        self._backend: Backend | plain.PlainBackend
        if backend == plain.NAME:
            self._backend = plain.PlainBackend(self._network)
            return
        settings = BackendSettings(
            backend,
            'float32' if half else precision,
            threads=None if backend == 'nnabla' else task.threads,
        )
        images = None
        if precision == 'int8':
            reading = ImageReading.of(task.config)
            images = Calibration(self._network, task.calibration, reading=reading)
        self._backend = create(
            settings, self._network, choice, cache=DiskCache(cache_folder), calibration=images
        )
        if choice.name == 'cudnn' and backend == 'nnabla':
            self.stay_on_device()

    @property
    def used(self) -> str:
        """The names of the backends that computed so far."""
        return ', '.join(sorted(self._backend.used))

    def logits(self) -> np.ndarray:
        """Return the logits (1, num_classes, h, w) of the task's input."""
        return self._backend.run(np.load(self._task.input))

    def stay_on_device(self):
        """Normalise images and resize logits on the network's device, as the commands do on a GPU.

        :meth:`run` then measures the seconds from input to logits in a separate run.
        """
        self._predictor.backend = self._backend
        self._predictor.stay_on_device()

    def run(self) -> tuple[float, float]:
        """Return the seconds from input to logits, and from image file to encoded class indices."""
        started = time.perf_counter()
        image = image_files.read_image(self._task.image)
        classes, device = self.classes(image)
        cv2.imencode('.png', classes)
        whole = time.perf_counter() - started
        return self._maps(image)[1] if device is None else device, whole

    def classes(self, image: np.ndarray) -> tuple[np.ndarray, float | None]:
        """Segment an image.

        Returns:
            Class indices, (H, W) uint8, and the seconds from input to logits; None where that part
            cannot be timed separately.
        """
        if self._predictor.on_device:
            return self._predictor.labels(image), None
        maps, seconds = self._maps(image)
        return class_indices(maps, self._task.size), seconds

    def _maps(self, image):
        """Return the logits (num_classes, h, w) of an image, and the seconds of the backend."""
        x = predictor.normalise(image, self._network.info)[None]
        before = time.perf_counter()
        maps = self._backend.run(x)[0]
        return maps, time.perf_counter() - before


def class_indices(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return uint8 class indices (H, W) of logits (num_classes, h, w), band by band."""
    height, width = size
    result = np.empty(size, np.uint8)
    step = max(1, RESIZED_VALUES_PER_BAND // (maps.shape[0] * width))
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        result[rows] = resize_rows(maps, size, rows).argmax(axis=0)
    return result


_pipeline: Pipeline  # the pipeline of this worker process, set by start_pipeline


def start_pipeline(task: PipelineTask, backend: str, precision: str, cache_folder: Path):
    """Create the pipeline of this worker process; the arguments are those of :class:`Pipeline`."""
    global _pipeline
    _pipeline = Pipeline(task, backend, precision, cache_folder)


def first_logits() -> tuple[np.ndarray, str]:
    """Return the logits of the task's input, and the names of the backends that computed them."""
    return _pipeline.logits(), _pipeline.used


def time_runs(min_seconds: float) -> tuple[float, float, float]:
    """Repeat runs for at least ``min_seconds``.

    Returns:
        The median seconds from input to logits, the median seconds from file to file, and the peak
        resident memory so far in MiB.
    """
    runs = [_pipeline.run()]
    while sum(whole for _, whole in runs) < min_seconds:
        runs.append(_pipeline.run())
    device, whole = (statistics.median(each) for each in zip(*runs))
    return device, whole, own_peak_mib()
