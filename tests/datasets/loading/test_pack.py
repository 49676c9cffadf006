"""Packed data sets: equal samples, crops that read only their own bytes, detected damage."""

import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.errors import InputError, UserError
from common.writing import write_targets
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
    """A data set of images of different sizes, one with an odd number of bytes."""
    samples = []
    for i, (height, width) in enumerate([(40, 60), (33, 21), (50, 31), (64, 64)]):
        image, label = tmp_path / f'image{i}.png', tmp_path / f'label{i}.png'
        cv2.imwrite(str(image), stand_ins.image(height, width, seed=i))
        values = np.random.RandomState(i).choice([0, 1, 2, 255], (height, width))
        cv2.imwrite(str(label), values)
        samples.append(Sample(f'city/sample{i}', image, label))
    return Dataset(INFO, 'train', tuple(samples), read_indices)


def same(packed, dataset):
    """Return whether two data sets have equal images and labels."""
    return len(packed) == len(dataset) and all(
        np.array_equal(x, y)
        for i in range(len(dataset))
        for x, y in zip(packed.pair(i), dataset.pair(i))
    )


@pytest.mark.parametrize('processes', [1, 2])
def test_packed_samples_equal_the_originals(dataset, tmp_path, processes):
    packed = pack.pack(dataset, tmp_path / 'packed', processes)
    assert same(packed, dataset)
    assert (packed.info, packed.split) == (INFO, 'train')
    assert [sample.name for sample in packed] == [sample.name for sample in dataset]
    assert [packed.size(i) for i in range(4)] == [(40, 60), (33, 21), (50, 31), (64, 64)]
    assert packed.verify() == []
    assert sorted(os.listdir(tmp_path / 'packed')) == ['images.bin', 'index.json', 'labels.bin']


def test_packed_data_can_be_cut_renamed_and_pickled(dataset, tmp_path):
    packed = pack.pack(dataset, tmp_path / 'packed')
    image, _ = packed.pair(2)
    assert np.array_equal(replace(packed, samples=packed.samples[2:]).image(0), image)
    renamed = replace(INFO, classes=('x', 'y', 'z'))
    assert replace(packed, info=renamed).info.classes == ('x', 'y', 'z')
    sent = pickle.dumps(packed)
    assert len(sent) < 4000, 'the pickle must not contain the arrays'
    assert np.array_equal(pickle.loads(sent).image(2), image)


def test_arrays_are_read_only_views_of_the_files(dataset, tmp_path):
    packed = pack.pack(dataset, tmp_path / 'packed')
    window = slice(10, 30), slice(5, 15)
    image, label = (array[window] for array in packed.pair(1))
    assert np.array_equal(image, dataset.image(1)[window])
    assert np.array_equal(label, dataset.label(1)[window])
    for array, file in ((image, packed.files.images), (label, packed.files.labels)):
        assert np.shares_memory(array, file)
        assert not array.flags.writeable


@pytest.mark.parametrize(
    'transform, workers', [(ScaleCrop((24, 32)), 1), (ShortSides((20, 30), 40), 0)]
)
def test_the_loader_gives_the_batches_of_the_originals(dataset, tmp_path, transform, workers):
    packed = pack.pack(dataset, tmp_path / 'packed')
    settings = dict(batch_size=2, mean=(1, 2, 3), std=(4, 5, 6))
    with (
        Loader(dataset, transform, workers=0, **settings) as loader,
        Loader(packed, transform, workers=workers, **settings) as other,
    ):
        for _ in range(4):
            for x, y in zip(loader.next(), other.next()):
                assert np.array_equal(x, y)


def test_changed_sources_are_detected(dataset, tmp_path):
    """A source with another modification time is; a missing source or a moved folder is fine."""
    pack.pack(dataset, tmp_path / 'packed')
    label = dataset[1].label
    os.utime(label, ns=(0, 0))
    with pytest.raises(DataError, match='label1.png has changed since it was packed; pack'):
        pack.open(tmp_path / 'packed')
    label.unlink()
    os.rename(tmp_path / 'packed', tmp_path / 'moved')
    assert pack.open(tmp_path / 'moved').verify() == []


@pytest.mark.parametrize('processes', [1, 2])
def test_changed_bytes_are_detected(dataset, tmp_path, processes):
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


def test_damaged_folders_are_refused(dataset, tmp_path):
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
    with pytest.raises(DataError, match='index.json: not valid JSON .*; pack the data set again'):
        pack.open(folder)
    index.write_text(json.dumps(document))
    os.truncate(folder / 'images.bin', 1000)
    with pytest.raises(DataError, match='images.bin: 1000 bytes instead of'):
        pack.open(folder)


def test_a_failure_keeps_the_existing_folder(dataset, tmp_path):
    """After a bad file or a full disk, no partial folder remains either."""
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


def test_packing_again_replaces_packed_data_only(dataset, tmp_path):
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
    """The old folder has been moved aside, the new one is not yet in place.

    Opening restores the old folder; packing replaces it once the new one is complete.
    """
    folder = tmp_path / 'packed'
    pack.pack(dataset, folder)
    rename = Path.rename

    def killed(self, target):
        if self.name.startswith('.packed.nnseg-'):
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


def test_opening_restores_a_folder_that_was_moved_aside(dataset, tmp_path):
    pack.pack(dataset, tmp_path / 'packed').files.folder.rename(tmp_path / '.packed.old')
    assert same(pack.open(tmp_path / 'packed'), dataset)


def test_links_and_the_folders_of_other_processes_stay(dataset, tmp_path):
    """A link to the folder stays one; a killed process's folder is removed, a running one's not."""
    (tmp_path / 'link').symlink_to('packed')
    killed, own = tmp_path / f'.packed.nnseg-{"0" * 16}', tmp_path / '.packed.old'
    killed.mkdir()
    (killed / 'images.bin').touch()
    with write_targets.folder_beside(tmp_path / 'packed') as running:
        for _ in range(2):
            assert same(pack.pack(dataset, tmp_path / 'link'), dataset)
        assert running.is_dir() and not killed.exists()
    assert sorted(os.listdir(tmp_path / 'packed')) == sorted(pack.FILES)
    own.mkdir()
    (own / 'thesis.txt').write_text('precious')
    with pytest.raises(UserError, match='packed.old: contains other files'):
        pack.pack(dataset, tmp_path / 'link')
    assert os.readlink(tmp_path / 'link') == 'packed' and os.listdir(own) == ['thesis.txt']
    assert same(pack.open(tmp_path / 'link'), dataset)
