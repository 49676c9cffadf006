"""Images a second of the loader, of packed data, and of loading as it is usually written."""

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from nnabla.utils.data_iterator import data_iterator_simple

import models
from benchmarks import frame, straightforward
from benchmarks.memory import peak_mib
from common.errors import UserError
from datasets import Dataset
from datasets.image_files import image_size
from datasets.loading import augmentations, pack
from datasets.loading.augmentations import AugmentationKeys, ScaleCrop
from datasets.loading.loader import Loader

SAMPLES = 16  # of the data set, which is cut or repeated to so many
WARM_UP = 3  # batches after the start, until the queues are as full as they stay


def measure(
    config: Mapping, dataset: Dataset, batch_size: int, batches: int, rounds: int
) -> tuple[list[frame.Result], dict]:
    """Times of ``batches`` batches of every contestant; images a second and memory of each.

    OpenCV has one thread, so that a contestant without workers has one core. Raises ``UserError``
    for an augmentation that the usual pipeline does not have.
    """
    transform, info = augmentations.create(config), models.describe(config)
    if not isinstance(transform, ScaleCrop):
        raise UserError(
            f'augmentation: {AugmentationKeys.of(config).augmentation} has no usual pipeline to '
            'compare with; choose '
            'a config with scale_crop'
        )
    files = min(len(dataset), SAMPLES)
    dataset = replace(dataset, samples=dataset.samples[:files])
    images = batch_size * batches
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        packed = _repeated(pack.pack(dataset, Path(folder) / 'packed'))
        dataset = _repeated(dataset)

        def ours(data, workers):
            return Loader(
                data, transform, batch_size, info.mean, info.std, info.channel_order,
                workers=workers,
            )  # fmt: skip

        contestants = {
            'data_iterator_simple': partial(_nnabla, dataset, transform, info, batch_size),
            'loader, 1 worker': partial(ours, dataset, 1),
            'loader, 2 workers': partial(ours, dataset, 2),
            'packed, 1 worker': partial(ours, packed, 1),
            'packed, 2 workers': partial(ours, packed, 2),
        }
        runs = {name: partial(_time, open_, batches) for name, open_ in contestants.items()}
        runs['decoding only'] = partial(_decode, dataset, images)
        memory = {name: peak_mib(run) for name, run in runs.items()}
        results = frame.compare(runs, rounds, warm_up=0, own_clock=True)
    results = [
        replace(
            result,
            details={
                'images/s': 1000 * images / result.median_ms,
                'MiB': memory[result.name],
            },
        )
        for result in results
    ]
    height, width = image_size(dataset[0].image)
    facts = {
        'data set': f'{files} files repeated to {SAMPLES}, from the page cache',
        'images': f'{images} of {width}x{height} a run, batches of {batch_size}',
        'crop': f'{transform.size[1]}x{transform.size[0]}',
        'MiB': 'the most memory of the process and its workers, proportional set size',
    }
    return results, facts


def _repeated(dataset: Dataset) -> Dataset:
    samples = (dataset[i % len(dataset)] for i in range(SAMPLES))
    return replace(dataset, samples=tuple(samples))


def _time(open_: Callable, batches: int) -> float:
    """Seconds for some batches, when it has been running for a while."""
    with open_() as iterator:
        for _ in range(WARM_UP):
            iterator.next()
        started = time.perf_counter()
        for _ in range(batches):
            iterator.next()
        return time.perf_counter() - started


def _nnabla(dataset: Dataset, transform: ScaleCrop, info, batch_size: int):
    rng = np.random.RandomState(0)

    def load(index):
        sample = dataset[index]
        pair = straightforward.read(sample.image, sample.label)
        return straightforward.augmented(*pair, transform, rng, info.mean, info.std)

    return data_iterator_simple(load, len(dataset), batch_size, shuffle=True)


def _decode(dataset: Dataset, images: int) -> float:
    """Seconds to read so many images and labels, and to do nothing with them."""
    started = time.perf_counter()
    for index in range(images):
        dataset.pair(index % len(dataset))
    return time.perf_counter() - started
