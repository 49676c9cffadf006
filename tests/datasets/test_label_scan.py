"""Scans of labels: counts, facts of readers, worker processes, the cache."""

import json
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.errors import InputError
from common.writing import cache_entries
from datasets import DataError, Dataset, label_scan
from datasets.label_scan import LabelScan, ScanCache, scan_labels
from datasets.loading import pack
from datasets.readers import label_files
from support import numbered_dataset


class ColourlessDecoder:
    """A decoder that refuses splits in which fewer than two label files have one value."""

    def __call__(self, path):
        return label_files.read_indices(path)

    def read(self, path):
        labels = self(path)
        return labels, json.dumps(np.unique(labels).tolist())

    def problems(self, facts, others):
        if max(count for count, _ in facts.values()) >= 2:
            return []
        first = min(path for _, path in facts.values())
        return [(Path(first), f'{first}: every file differs')]


@pytest.fixture
def dataset(tmp_path):
    """Ten labels of 40x60 pixels; all pixels of one have its number as class."""
    return numbered_dataset.write_dataset(tmp_path)


def relabel(dataset, index, values):
    Image.fromarray(np.array(values, np.uint8)).save(dataset[index].label)


def test_counts_equal_those_of_numpy(dataset):
    relabel(dataset, 3, [[0, 0, 255], [1, 2, 2]])
    scan = scan_labels(dataset)
    labels = [np.asarray(Image.open(sample.label)).ravel() for sample in dataset]
    counts = np.array([np.bincount(label, minlength=256) for label in labels])
    assert scan.pixels.tolist() == counts.sum(0).tolist()
    assert scan.images.tolist() == (counts > 0).sum(0).tolist()
    assert scan.labels == 10
    assert scan.missing_classes(dataset.info) == ['3']


def test_worker_processes_continue_a_long_scan(dataset, monkeypatch):
    monkeypatch.setattr(label_scan, 'SINGLE_PROCESS_SECONDS', -1)
    seen = []
    scan = scan_labels(dataset, processes=2, on_progress=seen.append)
    assert scan.pixels[:10].tolist() == [2400] * 10
    assert seen[-1] == '10 labels of worker processes'


def test_a_split_of_ignored_pixels_is_refused(dataset):
    for index in range(10):
        relabel(dataset, index, [[255]])
    with pytest.raises(DataError, match='split train has no pixel of any class, as its 10 labels'):
        label_scan.refuse_ignored(dataset, scan_labels(dataset))
    label_scan.refuse_ignored(dataset, LabelScan())  # nothing was read


def test_bad_labels_are_raised_or_left_out(dataset):
    dataset[4].label.write_bytes(b'no picture')
    relabel(dataset, 5, [[77]])
    with pytest.raises(InputError, match='label4.png'):
        scan_labels(dataset)
    assert scan_labels(dataset, skip_bad=True).missing_classes(dataset.info) == ['4', '5']


def test_readers_judge_the_facts_of_all_files(dataset):
    own = Dataset(dataset.info, 'train', dataset.samples, ColourlessDecoder())
    with pytest.raises(DataError, match='label0.png: every file differs'):
        label_scan.judge(own, scan_labels(own))
    relabel(dataset, 7, [[6]])
    scan = sum((scan_labels(own.part(range(i, 10, 3))) for i in range(3)), LabelScan())
    assert scan.facts['[6]'] == (2, str(dataset[6].label))
    label_scan.judge(own, scan)


def test_packed_data_is_scanned(dataset, tmp_path):
    packed = pack.pack(dataset, tmp_path / 'packed')
    scan = scan_labels(packed)
    assert scan.pixels[:10].tolist() == [2400] * 10
    ScanCache(packed, False).store(scan)
    assert ScanCache(pack.open(tmp_path / 'packed'), False).load() is not None
    relabel(dataset, 1, [[0] * 60] * 40)
    assert ScanCache(pack.pack(dataset, tmp_path / 'packed'), False).load() is None


def test_the_cache_is_used_until_a_label_changes(dataset, tmp_path, monkeypatch):
    monkeypatch.setenv('NNSEG_CACHE', str(tmp_path / 'cache'))
    scan = scan_labels(dataset)
    assert ScanCache(dataset, False).load() is None
    ScanCache(dataset, False).store(scan)
    found = ScanCache(dataset, False).load()
    assert (found.labels, found.facts) == (scan.labels, scan.facts)
    assert np.array_equal(found.pixels, scan.pixels)
    assert ScanCache(dataset, True).load() is None
    assert ScanCache(dataset.part(range(9)), False).load() is None
    own = Dataset(dataset.info, 'train', dataset.samples, ColourlessDecoder())
    assert ScanCache(own, False).load() is None
    for decode in (str, partial(str)):  # neither has a source file
        assert ScanCache(Dataset(dataset.info, 'train', (), decode), False).load() is None
    status = dataset[0].label.stat()
    os.utime(dataset[0].label, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert ScanCache(dataset, False).load() is None


def test_a_damaged_entry_is_made_anew(dataset, tmp_path, monkeypatch):
    monkeypatch.setenv('NNSEG_CACHE', str(tmp_path / 'cache'))
    ScanCache(dataset, False).store(scan_labels(dataset))
    (entry,) = (tmp_path / 'cache/labels').iterdir()
    whole = entry.read_text()
    for text in ('', whole[: len(whole) // 2], whole.replace('2400', '2401', 1)):
        entry.write_text(text)
        assert ScanCache(dataset, False).load() is None
    short = {'labels': 1, 'pixels': [1], 'images': [1], 'facts': {}}
    full = {'labels': 1, 'pixels': [1] * 256, 'images': [1] * 256}
    unknown = ({'what': [1, 'x']}, {'[]': [1, 'x']}, {'["", [[1, {}]], 0, 0, 0]': [1, 'x']})
    for facts in ({}, short, {**short, 'facts': 3}, *({**full, 'facts': each} for each in unknown)):
        cache_entries.write(entry, facts)
        assert ScanCache(dataset, False).load() is None
    entry.write_text(whole)
    assert ScanCache(dataset, False).load() is not None


def test_a_cache_that_cannot_be_written_stops_nothing(dataset, monkeypatch, caplog):
    caplog.set_level('INFO')
    monkeypatch.setenv('NNSEG_CACHE', '/proc/none')
    ScanCache(dataset, False).store(LabelScan())
    assert 'the next run counts the classes again' in caplog.text
    assert ScanCache(dataset, False).load() is None
