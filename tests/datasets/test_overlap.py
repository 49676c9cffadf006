"""Images that two splits share: paths, links and copies."""

import os
from pathlib import Path

import pytest

from datasets import Dataset, DatasetInfo, Sample, overlap
from datasets.overlap import describe_shared, shared_images


def split(*paths):
    samples = tuple(Sample(str(path), path, None) for path in paths)
    return Dataset(DatasetInfo('own', ('a',), ((0, 0, 0),)), 'train', samples, str)


@pytest.fixture
def files(tmp_path):
    """Files of equal size, whose bytes differ at the beginning or the end only."""
    (tmp_path / 'train').mkdir()
    (tmp_path / 'val').mkdir()
    contents = {'a': b'A' + bytes(40000), 'b': bytes(40000) + b'B', 'c': bytes(40001)}
    for name, data in contents.items():
        (tmp_path / 'train' / name).write_bytes(data)
    return tmp_path / 'train', tmp_path / 'val'


def test_links_and_copies_are_found(files):
    train, val = files
    (val / 'copy').write_bytes((train / 'b').read_bytes())
    (val / 'end').write_bytes(bytes(40000) + b'C')
    (val / 'other').write_bytes(b'D' + bytes(40000))
    (val / 'short').write_bytes(b'A')
    os.link(train / 'a', val / 'hard')
    (val / 'soft').symlink_to(train / 'c')
    (val.parent / 'linked').symlink_to(train)
    through_link = val.parent / 'linked' / 'a'
    one = split(*sorted(train.iterdir()))
    two = split(*sorted(val.iterdir()), through_link, train / 'b', val / 'missing')
    found = shared_images(one, two)
    assert found == {
        val / 'copy': train / 'b',
        val / 'hard': train / 'a',
        val / 'soft': train / 'c',
        through_link: train / 'a',
        train / 'b': train / 'b',
    }
    text = 'val/copy = train/b, val/hard = train/a, val/soft = train/c, ...'
    assert describe_shared(found, val.parent) == text
    assert describe_shared({Path('/x/b'): Path('/x/b')}, val.parent) == '/x/b'


def test_large_splits_are_compared_by_path_only(files, monkeypatch):
    train, val = files
    monkeypatch.setattr(overlap, 'MAX_COMPARED_IMAGES', 2)
    os.link(train / 'a', val / 'hard')
    one = split(*sorted(train.iterdir()))
    assert shared_images(one, split(val / 'hard')) == {}
    assert shared_images(one, split(train / 'a')) == {train / 'a': train / 'a'}
