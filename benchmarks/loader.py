"""Compare images per second of the loader, packed data and a conventional loading pipeline."""

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
from benchmarks import harness, loading_baseline
from benchmarks.memory import peak_mib
from common.errors import UserError
from datasets import Dataset, formats, png_chunks
from datasets.loading import augmentations, pack
from datasets.loading.augmentations import AugmentationKeys, ScaleCrop
from datasets.loading.loader import Loader

SAMPLES = 16  # the data set is cut or repeated to this number
WARM_UP_BATCHES = 3  # untimed batches after the start, until the queues are full


def measure_loading(
    config: Mapping, dataset: Dataset, batch_size: int, batches: int, rounds: int
) -> tuple[list[harness.TimingResult], dict]:
    """Measure images per second and peak memory of every contestant.

    OpenCV gets one thread, so that a contestant without workers uses one core.

    Args:
        config: Config with the augmentation and the network's normalisation.
        dataset: Images and labels on disk.
        batch_size: Images per batch.
        batches: Batches per timed run.
        rounds: Timed runs of each contestant.

    Returns:
        The results, NNabla's iterator first, and facts for the table.

    Raises:
        UserError: The conventional pipeline lacks the config's augmentation.
    """
    transform, info = augmentations.create(config), models.describe(config)
    if not isinstance(transform, ScaleCrop):
        raise UserError(
            f'augmentation: {AugmentationKeys.of(config).augmentation} has no conventional '
            'pipeline to compare with; choose a config with scale_crop'
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
        runs['checksums only'] = partial(_check, dataset, images)
        memory = {name: peak_mib(run) for name, run in runs.items()}
        results = harness.compare_in_turns(runs, rounds, warm_up=0, own_clock=True)
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
    height, width = dataset.size(0)
    times = {result.name: result.median_ms for result in results}
    facts = {
        'data set': f'{files} files repeated to {SAMPLES}, from the page cache',
        'images': f'{images} of {width}x{height} a run, batches of {batch_size}',
        'crop': f'{transform.size[1]}x{transform.size[0]}',
        'checksums': f'{times["checksums only"] / times["decoding only"]:.1%} of decoding, which '
        'includes them',
        'MiB': 'peak memory of the process and its workers, proportional set size',
    }
    return results, facts


def _repeated(dataset: Dataset) -> Dataset:
    samples = (dataset[i % len(dataset)] for i in range(SAMPLES))
    return replace(dataset, samples=tuple(samples))


def _time(open_: Callable, batches: int) -> float:
    """Return the seconds for some batches after the warm-up."""
    with open_() as iterator:
        for _ in range(WARM_UP_BATCHES):
            iterator.next()
        started = time.perf_counter()
        for _ in range(batches):
            iterator.next()
        return time.perf_counter() - started


def _nnabla(dataset: Dataset, transform: ScaleCrop, info, batch_size: int):
    rng = np.random.RandomState(0)

    def load(index):
        sample = dataset[index]
        pair = loading_baseline.read(sample.image, sample.label)
        return loading_baseline.augmented(*pair, transform, rng, info.mean, info.std)

    return data_iterator_simple(load, len(dataset), batch_size, shuffle=True)


def _decode(dataset: Dataset, images: int) -> float:
    """Return the seconds to read images and labels without any processing."""
    started = time.perf_counter()
    for index in range(images):
        dataset.pair(index % len(dataset))
    return time.perf_counter() - started


def _check(dataset: Dataset, images: int) -> float:
    """Return the seconds to check the checksums of images and labels; only PNG files have some."""
    seconds = 0.0
    for index in range(images):
        sample = dataset[index % len(dataset)]
        for path in filter(None, (sample.image, sample.label)):
            name, data = formats.read_file(path)
            started = time.perf_counter()
            if name == formats.PNG:
                png_chunks.check(data, path)
            seconds += time.perf_counter() - started
    return seconds
