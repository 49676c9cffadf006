"""The loader with unreadable files: it names them, or skips and counts them."""

import os
from collections import Counter

import numpy as np
import pytest

from common.errors import InputError
from datasets.dataset import Dataset
from datasets.loading.augmentations import ResizeCrop, ShortSides
from support.numbered_dataset import COUNT, load, members, take, write_dataset


@pytest.fixture
def damaged(tmp_path):
    """A data set of six samples; the image of sample 2 is truncated."""
    dataset = write_dataset(tmp_path, 6)
    path = dataset[2].image
    path.write_bytes(path.read_bytes()[:500])
    return dataset


@pytest.mark.parametrize('workers', [0, 1])
def test_a_bad_file_is_named_when_its_batch_is_due(damaged, workers):
    """The error occurs neither earlier nor only once."""
    transform = ResizeCrop((16, 16), (20, 30))
    with load(damaged, transform, 1, workers=workers, shuffle=False) as loader:
        assert [members(loader.next()[1]) for _ in range(2)] == [[0], [1]]
        for _ in range(2):
            with pytest.raises(InputError, match='image2.png: damaged or truncated'):
                loader.next()
        assert loader.position == 2


@pytest.mark.parametrize('workers', [0, 1])
def test_bad_files_can_be_skipped_and_are_counted(damaged, workers, caplog):
    with load(damaged, batch_size=2, workers=workers, skip_bad=True) as loader:
        batches = take(loader, 6)  # two epochs
        problem = f'{damaged[2].image}: damaged or truncated'
        assert [(key[: len(problem)], n) for key, n in loader.skipped.items()] == [(problem, 2)]
    seen = Counter(n for _, labels in batches for n in members(labels))
    assert sum(seen.values()) == 12
    assert 2 not in seen
    assert caplog.text.count('another sample takes its place') == 1


def test_skipping_stops_when_all_samples_are_bad(damaged):
    bad = Dataset(damaged.info, 'train', damaged.samples[2:3], damaged.decode)
    with (
        load(bad, batch_size=1, workers=0, skip_bad=True) as loader,
        pytest.raises(InputError, match='1 bad samples in a row'),
    ):
        loader.next()


@pytest.mark.parametrize('workers', [0, 1])
def test_a_portrait_that_replaces_a_bad_landscape_is_shrunk(tmp_path, workers):
    """The whole portrait must fit into the batch, which has the size of the landscape."""
    dataset = write_dataset(tmp_path, size=lambda i: (60, 40) if i else (40, 60))
    dataset[0].label.write_bytes(b'')
    transform = ShortSides((16,), longest=60, divisor=8)
    settings = dict(batch_size=1, shuffle=False, skip_bad=True, workers=workers)
    with load(dataset, transform, **settings) as loader:
        shapes = []
        for _ in range(COUNT):
            images, labels = loader.next()
            rows, columns = np.nonzero(labels[0, 0] >= 0)
            shapes.append((images.shape[2:], (rows.max() + 1, columns.max() + 1)))
    assert sum(loader.skipped.values()) == 1
    assert ((16, 24), (16, 10)) in shapes
    assert shapes.count(((24, 16), (24, 16))) == COUNT - 1


@pytest.mark.parametrize('workers', [0, 1])
def test_a_programming_error_names_the_file_and_keeps_its_cause(tmp_path, workers):
    dataset = write_dataset(tmp_path, 3)
    broken = Dataset(dataset.info, 'train', dataset.samples, os.path.getmtime)
    with load(broken, workers=workers) as loader, pytest.raises(RuntimeError) as error:
        loader.next()
    assert 'image' in str(error.value)
    assert "'float' object has no attribute" in str(error.value)
    if workers:
        assert 'Traceback' in str(error.value)
