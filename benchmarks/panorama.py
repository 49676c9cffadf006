"""Compare ways to segment one large image with a network that was never compiled."""

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

import models
from benchmarks import harness
from common import PROJECT
from datasets import image_files
from engine.backends import select
from engine.backends.disk_cache import DiskCache
from engine.backends.settings import BackendSettings
from engine.device import context
from engine.inference.predictor import WHOLE_IMAGE, Predictor
from engine.inference.test_time import Protocol
from layers.workspace import Workspace
from models.family import NetworkKeys

PHOTO = PROJECT / 'resources' / 'street.jpg'


def measure_panorama(
    config: Mapping, size: tuple[int, int], rounds: int
) -> tuple[list[harness.TimingResult], dict]:
    """Time the first image of a process on a CPU: as a whole under auto, in windows, in NNabla.

    Compiling and its check count, since each run starts with an empty disk cache.

    Args:
        config: Config of the network, with its weights, if any.
        size: Height and width of the image.
        rounds: Timed runs of each way.

    Returns:
        The results, auto first, and facts: the share of labels that equal NNabla's.
    """
    choice, image = context.use('cpu'), panorama(size)
    side = min(size)
    ways = {
        'auto': ('auto', WHOLE_IMAGE),
        f'auto, windows of {side}x{side}': ('auto', Protocol(window=(side, side))),
        'nnabla': ('nnabla', WHOLE_IMAGE),
    }
    found: dict[str, np.ndarray] = {}

    def runner(name: str, backend: str, protocol: Protocol):
        def run() -> float:
            with tempfile.TemporaryDirectory() as folder:
                predictor = _predictor(config)
                with predictor.workspace.entered():
                    predictor.backend = select.create(
                        BackendSettings(backend),
                        predictor.network,
                        choice,
                        cache=DiskCache(Path(folder)),
                    )
                started = time.perf_counter()
                found[name] = predictor.labels(image, protocol)
                return time.perf_counter() - started

        return run

    runs = {name: runner(name, *way) for name, way in ways.items()}
    results = harness.compare_in_turns(runs, rounds, warm_up=0, own_clock=True)
    return results, {
        f'labels as in NNabla, {name}': f'{np.mean(labels == found["nnabla"]):.4%}'
        for name, labels in found.items()
        if name != 'nnabla'
    }


def panorama(size: tuple[int, int]) -> np.ndarray:
    """Return a street photo of the shorter side, repeated along the longer one."""
    photo, side = image_files.read_image(PHOTO), min(size)
    scale = side / min(photo.shape[:2])
    photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = photo.shape[:2]
    repeated = np.tile(photo, (-(-size[0] // height), -(-size[1] // width), 1))
    return np.ascontiguousarray(repeated[: size[0], : size[1]])


def _predictor(config: Mapping) -> Predictor:
    """Return a predictor in a workspace of its own, with the weights of the config, if any."""
    source = NetworkKeys.of(config).weights
    with Workspace({}).entered():
        predictor = Predictor(models.create(config))
        if source:
            models.weights.load(models.weights.find(source))
    return predictor
