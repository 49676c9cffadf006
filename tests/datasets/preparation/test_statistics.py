"""Statistics: equal to NumPy over all pixels at once, and to sums computed by hand."""

from dataclasses import replace

import numpy as np
import pytest

import datasets
from common.errors import InputError
from datasets import Dataset, DatasetInfo, Sample
from datasets.image_files import read_image, write_image
from datasets.preparation.statistics import compute_statistics
from datasets.readers import label_files
from support import stand_ins


def small_set(folder, labels, images=None):
    """Return a data set of three classes with these label maps and, by default, seeded images."""
    samples = []
    for number, label in enumerate(labels):
        image = images[number] if images else stand_ins.image(*label.shape, seed=number)
        sample = Sample(str(number), folder / f'{number}.png', folder / f'{number}_L.png')
        write_image(sample.image, image)
        write_image(sample.label, label)
        samples.append(sample)
    info = DatasetInfo('small', ('a', 'b', 'c'), ((1, 1, 1), (2, 2, 2), (3, 3, 3)))
    return Dataset(info, 'train', tuple(samples), label_files.read_indices)


def label_with(*counts, ignored=0):
    """Return a label map of one row with these numbers of pixels per class."""
    values = np.repeat([0, 1, 2, 255], [*counts, ignored])
    return values.astype(np.uint8)[None]


def brute_force(dataset):
    """Compute mean, deviation, frequencies and shares from all pixels in one array."""
    pairs = [dataset.pair(index) for index in range(len(dataset))]
    colours = np.concatenate([image.reshape(-1, 3) for image, _ in pairs])[:, ::-1]
    colours = colours.astype(np.float64)
    labels = [label[label != 255] for _, label in pairs]
    frequencies = []
    for index in range(len(dataset.info.classes)):
        beside = sum(label.size for label in labels if (label == index).any())
        frequencies.append(sum((label == index).sum() for label in labels) / (beside or np.nan))
    every = np.concatenate(labels)
    shares = [(every == index).mean() for index in range(len(dataset.info.classes))]
    return colours.mean(0), colours.std(0), np.array(frequencies), np.array(shares)


@pytest.mark.parametrize(
    ('name', 'root', 'split'),
    [
        ('camvid', 'camvid', 'val'),
        ('voc', 'samples/VOCdevkit/VOC2012', 'val'),
        ('cocostuff10k', 'samples/cocostuff10k_from164k', 'train'),
    ],
)
def test_real_samples_equal_brute_force(name, root, split, shared):
    dataset = datasets.open(name, shared / 'data' / root, split)
    dataset = replace(dataset, samples=dataset.samples[:5])
    found = compute_statistics(dataset)
    mean, std, frequency, share = brute_force(dataset)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-9)
    np.testing.assert_allclose(found.std, std, rtol=1e-9)
    seen = ~np.isnan(frequency)
    expected = np.where(seen, np.nanmedian(frequency) / frequency, 0)
    np.testing.assert_allclose(found.median_frequency(), expected, rtol=1e-12)
    np.testing.assert_allclose(found.enet(), 1 / np.log(1.02 + share), rtol=1e-12)
    np.testing.assert_allclose(found.inverse_log(), 1 / np.log(1.10 + share), rtol=1e-12)


def test_weights_equal_those_computed_by_hand(tmp_path):
    """Class a has 6 of 8 labelled pixels, b has 2 of the 8 and 4 of 4 more; c has none."""
    dataset = small_set(
        tmp_path,
        [label_with(6, 2, 0, ignored=8), label_with(0, 4, 0), label_with(0, 0, 0, ignored=3)],
    )
    found = compute_statistics(dataset)
    assert found.pixels.tolist() == [6, 6, 0]
    assert found.ignored == 11
    a, b = 6 / 8, 6 / 12
    median = (a + b) / 2
    np.testing.assert_allclose(found.median_frequency(), [median / a, median / b, 0])
    half = 1 / np.log(1.52)
    np.testing.assert_allclose(found.enet(), [half, half, 1 / np.log(1.02)])
    half = 1 / np.log(1.6)
    np.testing.assert_allclose(found.inverse_log(), [half, half, 1 / np.log(1.1)])


def test_channels_are_red_green_blue(tmp_path):
    image = np.zeros((1, 2, 3), np.uint8)
    image[0] = [(10, 20, 30), (10, 24, 50)]  # blue, green, red
    found = compute_statistics(small_set(tmp_path, [label_with(2, 0, 0)], [image]))
    assert found.mean.tolist() == [40, 22, 10]
    assert found.std.tolist() == [10, 2, 0]


def test_sums_are_exact_beyond_the_precision_of_floats(tmp_path):
    """The deviation is far below the mean, over more values than float32 can count."""
    image = np.full((4, 5, 3), 200, np.uint8)
    image[0, 0] = 201
    found = compute_statistics(small_set(tmp_path, [np.zeros((4, 5), np.uint8)], [image]))
    many = datasets.preparation.statistics.Statistics(
        1, found.values * 10**12, *[np.ones(3)] * 2, 0
    )
    np.testing.assert_allclose(many.std, np.sqrt(19) / 20, rtol=1e-14)
    np.testing.assert_allclose(many.mean, 200.05, rtol=1e-15)


def test_results_do_not_depend_on_the_number_of_processes(shared):
    dataset = datasets.open('voc', shared / 'data/samples/VOCdevkit/VOC2012', 'val')
    dataset = replace(dataset, samples=dataset.samples[:6])
    alone, together = compute_statistics(dataset), compute_statistics(dataset, processes=2)
    for name in ('values', 'pixels', 'pixels_beside'):
        assert np.array_equal(getattr(alone, name), getattr(together, name))


@pytest.mark.parametrize('processes', [1, 2])
def test_a_bad_file_is_reported(processes, tmp_path):
    dataset = small_set(tmp_path, [label_with(6, 2, 0), label_with(0, 4, 0)])
    dataset[1].image.write_bytes(dataset[1].image.read_bytes()[:40])
    with pytest.raises(InputError, match='1.png: '):
        compute_statistics(dataset, processes)


def test_a_split_without_labels_is_refused(tmp_path):
    dataset = small_set(tmp_path, [label_with(6, 2, 0)])
    unlabelled = Sample('0', dataset[0].image, None)
    with pytest.raises(InputError, match='the split train has no labels'):
        compute_statistics(Dataset(dataset.info, 'train', (unlabelled,), dataset.decode))
    assert read_image(unlabelled.image) is not None
