"""Create training states with all kinds of content, and compare them."""

import dataclasses
import hashlib
import io
import json

import h5py
import numpy as np

from engine.runs import checkpoints
from engine.runs.checkpoints import TrainingState


def make_state(iteration=8, seed=0, size=20):
    """Return a seeded state with all kinds of arrays and facts."""
    rng = np.random.RandomState(seed)
    parameters = {
        'z/conv/W': rng.randn(4, 3, 3, size).astype(np.float32),
        'a/bn/mean': np.array([[[[1e-45]], [[-0.0]], [[3e38]]]], np.float32),
        'a/bn': rng.randn(size).astype(np.float16),  # a prefix of another name
    }
    solver = {
        'm/z/conv/W': rng.randn(5)[::2],
        't': np.array(2**40, np.int64),
        'empty/ä .': np.zeros((0, 3), np.uint32),
        'flags': np.array([True, False]),
    }
    return TrainingState(
        iteration=iteration,
        parameters=parameters,
        solver=solver,
        average={name: array / 2 for name, array in parameters.items()},
        loader={'epoch': 3, 'order': [2, 0, 1], 'random': [2**80, 'x']},
        loss_scale={'factor': 65536.0, 'good_steps': 12},
        best={'miou': 0.1 + 0.2, 'iteration': 4},
        seed=7,
        config={'network': 'd3net', 'lr': 0.01, 'crop_scales': [0.5, 2.0], 'flip': None},
        processes=4,
        options={'-t': 'half', '--tf32': 'off'},
        versions={'nnabla': '1.39.0'},
        name='D3Net_L',
        extras={'note': 'Größe'},
    )


def write(path, facts, names, arrays):
    """Write a state with a right digest and any content.

    Args:
        path: The file to write.
        facts: Facts of the state, or the bytes to store in their place.
        names: Names of the arrays by group.
        arrays: Arrays by their place in the file.
    """
    content = io.BytesIO()
    with h5py.File(content, 'w', userblock_size=checkpoints.HEADER_BYTES) as file:
        for place, document in (('facts', facts), ('names', names)):
            encoded = document if isinstance(document, bytes) else json.dumps(document).encode()
            file[place] = np.frombuffer(encoded, np.uint8)
        for place, array in arrays.items():
            file[place] = array
    whole = content.getvalue()
    digest = hashlib.sha256(whole[checkpoints.HEADER_BYTES :]).hexdigest().encode()
    header = b'%s %s\n%s\n%d\n' % (checkpoints.MAGIC, checkpoints.VERSION, digest, len(whole))
    path.write_bytes(
        header.ljust(checkpoints.HEADER_BYTES, b'\n') + whole[checkpoints.HEADER_BYTES :]
    )


def assert_equal(one, other):
    """Compare every field, the order of names, and every bit of every array."""
    for field in dataclasses.fields(TrainingState):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if field.name in checkpoints.ARRAYS and a is not None:
            assert list(a) == list(b)
            for name in a:
                assert (a[name].dtype, a[name].shape) == (b[name].dtype, b[name].shape)
                assert a[name].tobytes() == b[name].tobytes()
        else:
            assert a == b
