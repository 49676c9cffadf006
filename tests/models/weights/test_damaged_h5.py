"""Damaged, foreign and unreadable files of weights are refused and change no parameter."""

import h5py
import nnabla as nn
import numpy as np
import pytest

import models
from models import weights
from support import stand_ins
from support.registered_parameters import assert_refused, assert_same, parameters

pytestmark = pytest.mark.usefixtures('few_networks')


def test_truncated_empty_and_foreign_files_are_refused(network, tmp_path):
    weights.save(tmp_path / 'whole.h5')
    data = (tmp_path / 'whole.h5').read_bytes()
    for name, content in (('cut', data[: len(data) // 2]), ('empty', b''), ('text', b'hello' * 99)):
        (tmp_path / name).write_bytes(content)
        assert_refused(tmp_path / name, f'{name} is truncated or not an NNabla .h5 file')
    assert_refused(tmp_path / 'none.h5', 'no such file of weights')


def test_an_unreadable_array_changes_no_parameter(network, tmp_path):
    """The group lists the array, but its checksum is wrong."""
    with h5py.File(tmp_path / 'a.h5', 'w') as file:
        for name, array in parameters().items():
            file.create_dataset(name, data=array, chunks=array.shape, fletcher32=True)
        offset = file['decode_head/conv_seg/conv/W'].id.get_chunk_info(0).byte_offset
    with open(tmp_path / 'a.h5', 'r+b') as file:
        file.seek(offset)
        file.write(b'\xff' * 16)
    assert_refused(tmp_path / 'a.h5', 'truncated or not an NNabla .h5 file')


def test_a_name_that_is_not_text_is_refused(network, tmp_path):
    weights.save(tmp_path / 'a.h5')
    content = (tmp_path / 'a.h5').read_bytes()
    (tmp_path / 'a.h5').write_bytes(content.replace(b'decode_head', b'decode_h\xf7ad'))
    assert_refused(tmp_path / 'a.h5', r'a.h5 is truncated or .*decode_h\\xf7ad.* is not text')


def damage(content, rng):
    """Return ``content`` with one byte or a range of bytes changed."""
    content = bytearray(content)
    start, length = rng.randint(len(content)), rng.choice([1, 1, 8, 200])
    content[start : start + length] = rng.bytes(len(content[start : start + length]))
    return content


def test_random_damage_is_refused_or_only_changes_numbers(tmp_path):
    """HDF5 stores no checksums here: a changed number loads, a changed structure is refused."""
    shapes = {f'block{i}/conv/W': (3, 4, 3, 3) for i in range(4)}
    for name, shape in shapes.items():
        nn.parameter.get_parameter_or_create(name, shape, need_grad=True)
    stand_ins.randomize_parameters()
    weights.save(tmp_path / 'a.h5')
    content, rng = (tmp_path / 'a.h5').read_bytes(), np.random.RandomState(0)
    outcomes = {}
    for _ in range(40):
        stand_ins.randomize_parameters(seed=1)
        before = parameters()
        (tmp_path / 'b.h5').write_bytes(damage(content, rng))
        try:
            weights.load(tmp_path / 'b.h5')
            outcome = 'loaded'
        except models.ModelError as error:
            assert '\n' not in str(error)
            assert_same(parameters(), before)
            outcome = type(error.__cause__).__name__
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    assert {'loaded', 'ArrayError', 'NoneType'} <= outcomes.keys(), outcomes


def test_arrays_of_text_are_refused(network, tmp_path):
    for content in ('text', h5py.Empty('f4')):
        with h5py.File(tmp_path / 'a.h5', 'w') as file:
            for name in parameters():
                file[name] = content
        assert_refused(tmp_path / 'a.h5', r'not an NNabla .h5 file \(.* is not numeric\)')


def test_a_file_without_permission_is_not_reported_as_damaged(tmp_path, monkeypatch):
    def refuse(path, mode):
        raise PermissionError(13, 'Unable to open file (name = a)')

    (tmp_path / 'a.h5').touch()
    monkeypatch.setattr(h5py, 'File', refuse)
    with pytest.raises(models.ModelError, match=r'a.h5: cannot be read \(Permission denied\)$'):
        weights.read(tmp_path / 'a.h5')


def test_a_checkpoint_is_refused_with_the_command_that_converts_it(network, tmp_path):
    for name, of in (('mine.pth', 'NAME'), ('best_val.pth', 'ddrnet23_aux')):
        path = tmp_path / name
        path.write_bytes(b'PK\x03\x04' + bytes(30))
        assert_refused(
            path,
            f'{path} is a checkpoint of PyTorch; convert it first: python -m models.convert '
            f'--network {of} -i {path} -o {path.with_suffix(".h5")}$',
        )
