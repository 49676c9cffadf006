"""Damage to HDF5 files through h5py: valid files whose values are elsewhere, huge or odd."""

import io
from collections.abc import Callable, Sequence

import h5py
import numpy as np

from fuzz.mutators.mutator import Mutator, pick

_HUGE = ((2**40,), (60_000, 60_000, 100), (2**31, 2**29), (2**60,))
_ODD_NUMBERS = (np.nan, np.inf, -np.inf, 1e38)
Edit = Callable[[np.random.Generator, h5py.File, str], None]


def hostile_h5(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Move the values of an array elsewhere, or change its type, shape, name or attributes."""
    buffer = io.BytesIO(data)
    with h5py.File(buffer, 'r+') as file:
        names: list[str] = []
        file.visititems(
            lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
        )
        if names:
            pick(rng, _EDITS)(rng, file, pick(rng, names))
    return buffer.getvalue()


def _external_storage(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    shape, kind = file[name].shape or (1,), file[name].dtype
    del file[name]
    path = pick(rng, ['/etc/passwd', '/dev/zero', '/proc/self/mem', 'missing', '../x'])
    file.create_dataset(name, shape, kind, external=[(path, 0, h5py.h5f.UNLIMITED)])


def _link(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    del file[name]
    file[name] = pick(
        rng,
        [
            h5py.SoftLink('/missing'),
            h5py.SoftLink(f'/{name}'),
            h5py.SoftLink('/'),
            h5py.ExternalLink('/etc/passwd', '/'),
            h5py.ExternalLink('weights.h5', f'/{name}'),
            h5py.ExternalLink('missing.h5', '/x'),
        ],
    )


def _loop(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    file[f'{name}_loop/again'] = file['/'] if rng.random() < 0.5 else file[name].parent


def _virtual(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    shape, kind = file[name].shape or (1,), file[name].dtype
    source = pick(rng, ['missing.h5', '.', 'weights.h5', '/etc/passwd'])
    inner = pick(rng, [name, 'other'])
    del file[name]
    space, properties = h5py.h5s.create_simple(shape), h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_virtual(space, source.encode(), inner.encode(), space)
    properties.set_obj_track_times(False)  # the file is the same in every run
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(kind), space, properties)


def _huge(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    del file[name]
    shape = pick(rng, _HUGE)
    way = int(rng.integers(3))
    if way == 0:  # chunks that were never written
        file.create_dataset(name, shape, 'f4', chunks=tuple(min(64, side) for side in shape))
    elif way == 1:  # contiguous, allocated late
        file.create_dataset(name, shape, 'f4')
    else:  # one chunk of zeros, compressed
        side = int(pick(rng, [1 << 20, 1 << 24, 1 << 26]))
        file.create_dataset(name, (side,), 'f4', np.zeros(side, 'f4'), compression=9)


def _odd_numbers(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    array = np.array(file[name][()])
    if array.size and array.dtype.kind == 'f':
        array.flat[int(rng.integers(array.size))] = pick(rng, _ODD_NUMBERS)
        file[name][()] = array


def _odd_type(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    shape = file[name].shape
    kind = pick(
        rng,
        [
            'c8', 'S5', h5py.string_dtype(), h5py.vlen_dtype(np.int32), h5py.ref_dtype, 'V8',
            '?', 'i8', 'u1',
            'f2', '>f4', [('a', 'f4'), ('b', 'f4')], h5py.enum_dtype({'A': 1}, 'i4'),
            np.dtype(('f4', (3,))),
        ],
    )  # fmt: skip
    del file[name]
    file.create_dataset(name, shape, kind)


def _odd_shape(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    del file[name]
    shape = pick(rng, [(), (0,), (1,) * 32, (0, 2**40), (3, 0, 5), (1, 1, 1)])
    file.create_dataset(name, shape, 'f4')


def _empty(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    del file[name]
    file[name] = h5py.Empty('f4')


def _odd_name(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    odd = pick(
        rng, [b'\xff\xfe', b'\x1b[2J', b'a\nb', b'..', b' ', b'x' * 60_000, b'a/' * 2000 + b'W']
    )
    file.copy(name, odd)


def _odd_attribute(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    known = [*file.attrs, 'class_names', 'class_colours', 'input_mean', 'nnseg_version']
    key = pick(rng, known)
    value = pick(
        rng,
        [
            '', '[', '[' * 50_000, '["a\\u001b[2J"]', '[[1, 2, 3]]', '[null]', '{"a": 1}',
            '9' * 5000, 'NaN',
            b'\xff', 3, -1.5, np.nan, [1.0, np.inf, 2.0], np.zeros((3, 3)), h5py.Empty('f4'),
            '[1e999]', 'rgb',
            np.zeros(8000, 'u1'), 'x' * 60_000,
        ],
    )  # fmt: skip
    file.attrs[key] = value


def _group_instead(rng: np.random.Generator, file: h5py.File, name: str) -> None:
    del file[name]
    file.create_group(name)


_EDITS: tuple[Edit, ...] = (
    _external_storage, _link, _loop, _virtual, _huge, _odd_numbers, _odd_type, _odd_shape, _empty,
    _odd_name, _odd_attribute, _group_instead,
)  # fmt: skip
OF_HDF5 = (Mutator(hostile_h5, keeps_checksums=True),)
