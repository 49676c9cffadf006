"""Packed data sets: the same samples, a crop's own bytes only, nothing stale or damaged."""

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.errors import InputError, UserError
from datasets.dataset import Dataset, Sample
from datasets.info import DataError, DatasetInfo
from datasets.loading import pack
from datasets.loading.augmentations import ScaleCrop, ShortSides
from datasets.loading.loader import Loader
from datasets.readers.label_files import read_indices
from support import programs, stand_ins

INFO = DatasetInfo('three', ('a', 'b', 'c'), ((1, 2, 3), (4, 5, 6), (7, 8, 9)), source='here')


@pytest.fixture
def dataset(tmp_path):
    """Images of different sizes, also with an odd number of bytes."""
    samples = []
    for i, (height, width) in enumerate([(40, 60), (33, 21), (50, 31), (64, 64)]):
        image, label = tmp_path / f'image{i}.png', tmp_path / f'label{i}.png'
        cv2.imwrite(str(image), stand_ins.image(height, width, seed=i))
        values = np.random.RandomState(i).choice([0, 1, 2, 255], (height, width))
        cv2.imwrite(str(label), values)
        samples.append(Sample(f'city/sample{i}', image, label))
    return Dataset(INFO, 'train', tuple(samples), read_indices)


def same(packed, dataset):
    return len(packed) == len(dataset) and all(
        np.array_equal(x, y)
        for i in range(len(dataset))
        for x, y in zip(packed.pair(i), dataset.pair(i))
    )


@pytest.mark.parametrize('processes', [1, 2])
def test_the_same_samples(dataset, tmp_path, processes):
    packed = pack.pack(dataset, tmp_path / 'packed', processes)
    assert same(packed, dataset)
    assert (packed.info, packed.split) == (INFO, 'train')
    assert [sample.name for sample in packed] == [sample.name for sample in dataset]
    assert [packed.size(i) for i in range(4)] == [(40, 60), (33, 21), (50, 31), (64, 64)]
    assert packed.verify(processes) == []
    assert sorted(os.listdir(tmp_path / 'packed')) == ['images.bin', 'index.json', 'labels.bin']


def test_what_is_done_with_data_sets_can_be_done(dataset, tmp_path):
    """Cut to some samples, given other class names, sent to a process."""
    packed = pack.pack(dataset, tmp_path / 'packed')
    image, _ = packed.pair(2)
    assert np.array_equal(replace(packed, samples=packed.samples[2:]).image(0), image)
    renamed = replace(INFO, classes=('x', 'y', 'z'))
    assert replace(packed, info=renamed).info.classes == ('x', 'y', 'z')
    sent = pickle.dumps(packed)
    assert len(sent) < 4000, 'the arrays must not travel'
    assert np.array_equal(pickle.loads(sent).image(2), image)


def test_a_window_reads_its_own_bytes(dataset, tmp_path):
    packed = pack.pack(dataset, tmp_path / 'packed')
    window = slice(10, 30), slice(5, 15)
    image, label = (array[window] for array in packed.pair(1))
    assert np.array_equal(image, dataset.image(1)[window])
    assert np.array_equal(label, dataset.label(1)[window])
    for array, file in ((image, packed.files.images), (label, packed.files.labels)):
        assert np.shares_memory(array, file)
        assert not array.flags.writeable


@pytest.mark.parametrize('transform', [ScaleCrop((24, 32)), ShortSides((20, 30), 40)])
def test_the_loader_gives_the_same_batches(dataset, tmp_path, transform):
    packed = pack.pack(dataset, tmp_path / 'packed')
    settings = dict(batch_size=2, mean=(1, 2, 3), std=(4, 5, 6))
    with (
        Loader(dataset, transform, workers=0, **settings) as loader,
        Loader(packed, transform, workers=1, **settings) as other,
    ):
        for _ in range(4):
            for x, y in zip(loader.next(), other.next()):
                assert np.array_equal(x, y)


def test_changed_sources_are_noticed(dataset, tmp_path):
    """A file of another size or time; one that is gone is not missed, the packed data may move."""
    pack.pack(dataset, tmp_path / 'packed')
    label = dataset[1].label
    os.utime(label, ns=(0, 0))
    with pytest.raises(DataError, match='label1.png has changed since it was packed; pack'):
        pack.open(tmp_path / 'packed')
    label.unlink()
    os.rename(tmp_path / 'packed', tmp_path / 'moved')
    assert pack.open(tmp_path / 'moved').verify() == []


@pytest.mark.parametrize('processes', [1, 2])
def test_changed_bytes_are_noticed(dataset, tmp_path, processes):
    packed = pack.pack(dataset, tmp_path / 'packed')
    for file, place in (('labels.bin', 40 * 60 + 5), ('images.bin', 3 * (40 * 60 + 33 * 21 + 9))):
        with (tmp_path / 'packed' / file).open('r+b') as opened:
            opened.seek(place)
            value = opened.read(1)[0]
            opened.seek(place)
            opened.write(bytes([value ^ 1]))
    first, second = packed.verify(processes)
    assert 'packed: the bytes of city/sample1 have changed since packing' in first
    assert 'packed: the bytes of city/sample2 have changed since packing' in second


def test_damaged_folders(dataset, tmp_path):
    folder = tmp_path / 'packed'
    with pytest.raises(DataError, match='no packed data set; python -m datasets.prepare --pack'):
        pack.open(folder)
    pack.pack(dataset, folder)
    index = folder / 'index.json'
    document = json.loads(index.read_text())
    index.write_text(json.dumps({**document, 'version': 99}))
    with pytest.raises(DataError, match='packed by another version'):
        pack.open(folder)
    index.write_text('{')
    with pytest.raises(DataError, match='index.json: cannot be read'):
        pack.open(folder)
    index.write_text(json.dumps(document))
    os.truncate(folder / 'images.bin', 1000)
    with pytest.raises(DataError, match='images.bin: 1000 bytes instead of'):
        pack.open(folder)


def test_a_failure_leaves_what_was_there(dataset, tmp_path):
    """A bad file, a full disk: the old folder stays, and nothing half is left beside it."""
    folder = tmp_path / 'packed'
    pack.pack(dataset, folder)
    before = sorted(os.listdir(tmp_path))
    worse = replace(dataset, samples=(*dataset.samples, Sample('x', *[tmp_path / 'x.png'] * 2)))
    with pytest.raises(InputError, match='x.png: cannot be read'):
        pack.pack(worse, folder)
    unlabelled = replace(dataset, samples=(Sample('x', dataset[0].image, None),))
    with pytest.raises(DataError, match='image0.png: has no label'):
        pack.pack(unlabelled, folder)
    with programs.full_disk(2000), pytest.raises(UserError, match='packed: cannot be written'):
        pack.pack(dataset, folder)
    assert sorted(os.listdir(tmp_path)) == before
    assert same(pack.open(folder), dataset)


def test_packing_again_replaces(dataset, tmp_path):
    folder = tmp_path / 'packed'
    pack.pack(dataset, folder)
    fewer = replace(dataset, samples=dataset.samples[:2])
    assert same(pack.pack(fewer, folder), fewer)
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'thesis.txt').write_text('precious')
    with pytest.raises(UserError, match='mine: contains other files'):
        pack.pack(dataset, tmp_path / 'mine')
    assert (tmp_path / 'mine' / 'thesis.txt').exists()


@pytest.mark.parametrize('complete', [False, True])
@pytest.mark.parametrize('kills', [1, 2])
def test_a_kill_between_the_two_renames_loses_nothing(
    dataset, tmp_path, monkeypatch, kills, complete
):
    """The old folder is set aside and the new one not yet in its place: opening brings the old one
    back, packing replaces it when all is written.
    """
    folder = tmp_path / 'packed'
    pack.pack(dataset, folder)
    rename = Path.rename

    def killed(self, target):
        if self.name == '.packed.partial':
            raise KeyboardInterrupt
        return rename(self, target)

    fewer = replace(dataset, samples=dataset.samples[:2])
    monkeypatch.setattr(Path, 'rename', killed)
    for _ in range(kills):
        with pytest.raises(KeyboardInterrupt):
            pack.pack(fewer, folder)
    monkeypatch.undo()
    assert not folder.exists()
    if complete:
        assert same(pack.pack(fewer, folder), fewer)
    else:
        worse = replace(dataset, samples=(Sample('x', *[tmp_path / 'x.png'] * 2),))
        with pytest.raises(InputError, match='x.png: cannot be read'):
            pack.pack(worse, folder)
        assert same(pack.open(folder), dataset)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ['packed']


def test_opening_brings_back_what_was_set_aside(dataset, tmp_path):
    pack.pack(dataset, tmp_path / 'packed').files.folder.rename(tmp_path / '.packed.old')
    assert same(pack.open(tmp_path / 'packed'), dataset)
