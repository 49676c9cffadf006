"""Names and colours of classes in files of weights."""

import h5py
import nnabla as nn
import numpy as np
import pytest

from models import class_table, weights
from models.class_table import ClassTable
from support import stand_ins

# 255 names of 400 bytes each: more than the 64 KiB of an HDF5 attribute.
LONG = ClassTable(
    tuple(f'{number} 道路 größe \0 ' + '名' * 120 for number in range(255)),
    tuple((number, 255 - number, 7) for number in range(255)),
)


def test_many_long_names_come_back_and_nnabla_loads_the_file(tmp_path):
    stand_ins.tiny()(nn.Variable((1, 3, 32, 32)))
    stand_ins.randomize_parameters()
    saved = {name: p.d.copy() for name, p in nn.get_parameters(grad_only=False).items()}
    path = tmp_path / 'a.h5'
    weights.save(path, None, LONG)
    assert weights.class_table(path) == LONG
    with h5py.File(path) as file:
        assert sum(len(text) for text in file.attrs.values()) > 1 << 16
    stand_ins.randomize_parameters(seed=1)
    nn.load_parameters(str(path))
    loaded = nn.get_parameters(grad_only=False)
    assert list(loaded) == list(saved)
    assert all(np.array_equal(loaded[name].d, array) for name, array in saved.items())


def test_other_files_have_no_names(tmp_path):
    nn.parameter.get_parameter_or_create('a/W', (2, 3))
    weights.save(tmp_path / 'plain.h5')
    (tmp_path / 'damaged.h5').write_bytes(b'what')
    for name in ('plain.h5', 'damaged.h5', 'none.h5'):
        assert weights.class_table(tmp_path / name) is None


@pytest.mark.parametrize(
    ('names', 'colours', 'expected'),
    [
        ('["a", "b"]', '[[1, 2, 3], [4, 5, 6]]', ClassTable(('a', 'b'), ((1, 2, 3), (4, 5, 6)))),
        ('["a", "b"]', '[[1, 2, 3]]', ClassTable(('a', 'b'))),
        ('["a", "b"]', '[[1, 2, 3], [4, 5, 256]]', ClassTable(('a', 'b'))),
        ('["a", "b"]', None, ClassTable(('a', 'b'))),
        ('["a", 3]', '[]', None),
        ('{"a": 1}', '[]', None),
        ('[]', '[]', None),
        ('["a"', '[]', None),
        ('[' * 100_000, '[]', None),
        (np.arange(3), '[]', None),
    ],
)
def test_invalid_attributes_are_ignored(names, colours, expected):
    found = {class_table.NAMES_ATTRIBUTE: names, class_table.COLOURS_ATTRIBUTE: colours}
    assert class_table.from_attributes(found) == expected
    assert class_table.from_attributes({}) is None


def test_the_first_difference_of_two_lists():
    for one, other, index in (
        ('ab', 'ab', None),
        ('abc', 'acb', 1),
        ('ab', 'abc', 2),
        ('abc', 'ab', 2),
        ('', 'a', 0),
    ):
        assert class_table.first_difference(tuple(one), list(other)) == index
