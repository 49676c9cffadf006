"""A small data set whose labels are the sample numbers, and helpers for tests that load it."""

from pathlib import Path

import cv2
import numpy as np

from datasets.dataset import Dataset, Sample
from datasets.info import DatasetInfo
from datasets.loading.augmentations import ScaleCrop
from datasets.loading.loader import Loader
from datasets.readers.label_files import read_indices

COUNT = 10
MEAN, STD = (120, 110, 100), (60, 61, 62)
CROP = ScaleCrop((24, 32), flip=0.5)


def write_dataset(folder, count=COUNT, size=lambda i: (40, 60)):
    """Write images of noise, and label maps whose pixels all have the sample number."""
    samples = []
    for i in range(count):
        height, width = size(i)
        image, label = folder / f'image{i}.png', folder / f'label{i}.png'
        noise = np.random.RandomState(i).randint(0, 256, (height, width, 3))
        cv2.imwrite(str(image), noise.astype(np.uint8))
        cv2.imwrite(str(label), np.full((height, width), i, np.uint8))
        samples.append(Sample(f'sample{i}', image, label))
    classes = tuple(map(str, range(count)))
    info = DatasetInfo('numbers', classes, tuple((i, i, i) for i in range(count)))
    return Dataset(info, 'train', tuple(samples), read_indices)


def load(dataset, transform=CROP, batch_size=3, **options):
    """Return a loader of the data set."""
    return Loader(dataset, transform, batch_size, MEAN, STD, **options)


def members(labels):
    """Return the sample numbers in a batch of labels."""
    return [int(label.max()) for label in labels]


def take(loader, count):
    """Return the next ``count`` batches."""
    return [loader.next() for _ in range(count)]


def equal(batches, others):
    """Return whether two lists of batches hold equal values."""
    return all(
        np.array_equal(x, y) for batch, other in zip(batches, others) for x, y in zip(batch, other)
    )


def worker_pids(loader):
    """Return the process ids of the loader's workers."""
    return [process.pid for process in loader._pool._processes.values()]


def has_exited(pid):
    """Return whether a process has exited, even if its parent has not waited for it yet."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] == 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return True
