"""The index of packed data: every wrong number or text is refused before anything is mapped."""

import json

import cv2
import numpy as np
import pytest

from datasets.dataset import Dataset, Sample
from datasets.info import DataError, DatasetInfo
from datasets.loading import pack
from datasets.readers.label_files import read_indices

INFO = DatasetInfo('three', ('a', 'b', 'c'), ((1, 2, 3), (4, 5, 6), (7, 8, 9)), source='here')


@pytest.fixture
def folder(tmp_path):
    """Packed data of two samples of 4x6 and 3x5 pixels."""
    samples = []
    for name, size in (('x', (4, 6)), ('y', (3, 5))):
        image, label = tmp_path / f'{name}.png', tmp_path / f'{name}_label.png'
        cv2.imwrite(str(image), np.full((*size, 3), 7, np.uint8))
        cv2.imwrite(str(label), np.ones(size, np.uint8))
        samples.append(Sample(name, image, label))
    pack.pack(Dataset(INFO, 'train', tuple(samples), read_indices), tmp_path / 'packed')
    return tmp_path / 'packed'


HUGE = 10**400
FIRST = ('entries', 0)


@pytest.mark.parametrize(
    ('place', 'values', 'problem'),
    [
        ((), ([], 3, None), 'not a JSON object'),
        (('version',), ('2', True, HUGE, None), 'another version'),
        (('split',), (1, None, []), 'no text as split'),
        (('info',), (None, [], {}, {'name': 1}, {'name': 'x', 'unknown': 1}), 'describe|text|pal'),
        (('info', 'classes'), ('abc', [1], None, ['c'] * 300, [], ['c'] * 9), 'classes'),
        (
            ('info', 'palette'),
            ([[1, 2]], [[1, 2, 256]], [[1, 2, -1]], 3, [[True] * 3]),
            'colour|pal',
        ),
        (('reading',), (1, None, []), 'how its images were read'),
        (('reading', 'bit_depth'), (7, 'x', [], HUGE), 'bit_depth'),
        (('samples',), (None, {}, [[]] * 3), 'samples'),
        (('samples', 0), (None, ['x', 'y'], ['x', 'y', 1], 'abc'), 'sample 0'),
        (('samples', 0, 0), ('y',), 'two samples of one name'),
        (('entries',), (None, [], {}), 'entries'),
        (FIRST, (None, [], [4, 6, [0, 0], [0, 0]], [4, 6, [0, 0], [0, 0], {}]), 'sample 0'),
        ((*FIRST, 0), (0, -4, 4.0, '4', True, HUGE), 'size of sample 0'),
        ((*FIRST, 0), (5,), 'offset of sample 1'),
        ((*FIRST, 2), ([0, 1], [-72, 0], [0], None, [2**63, 0], [HUGE, 0]), 'offset of sample 0'),
        (('entries', 1, 2), ([0, 24], [72, 25], [10**15, 24]), 'offset of sample 1'),
        ((*FIRST, 3), ([-1, 0], ['a', 'b'], 7), 'checksum of sample 0'),
        ((*FIRST, 4), ([], [1, 2], [[1, 2], [3, HUGE]]), 'source of sample 0'),
        (('entries', 1, 0), (10**9,), 'bytes instead of'),
    ],
)
def test_wrong_values_are_refused(folder, place, values, problem):
    path = folder / 'index.json'
    right = path.read_text()
    for value in values:
        document = {'index': json.loads(right)}
        holder, key = document, 'index'
        for step in place:
            holder, key = holder[key], step
        holder[key] = value
        path.write_text(json.dumps(document['index']))
        with pytest.raises(
            DataError, match=f'packed.*({problem}).*pack the data set again'
        ) as error:
            pack.open(folder)
        assert len(str(error.value)) < 500


def test_packed_files_are_regular_files(folder):
    (folder / 'labels.bin').unlink()
    (folder / 'labels.bin').mkdir()
    with pytest.raises(DataError, match='labels.bin: 0 bytes instead of 39'):
        pack.open(folder)


def test_sources_may_have_any_name(folder):
    """Those of other machines are not compared."""
    path = folder / 'index.json'
    document = json.loads(path.read_text())
    document['samples'][0][1:] = ['x' * 5000, 'a\0b']
    path.write_text(json.dumps(document))
    assert len(pack.open(folder)) == 2
