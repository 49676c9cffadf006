"""Checkpoints of PyTorch, safetensors and NumPy."""

import io
import json
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fuzz.inputs import Content, Reader, one_file
from fuzz.mutators import containers, pickles
from fuzz.mutators.containers import zipped
from fuzz.readers.torch_files import torch_legacy, torch_zip
from models.convert import checkpoints, matching, recognition
from models.errors import ModelError

_NETWORK = 'ddrnet23_slim'  # a mismatch is told for it, from the names in the file


def _arrays(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        'layer1.0.conv1.weight': rng.normal(size=(4, 3, 3, 3)).astype('f4'),
        'layer1.0.bn1.running_mean': rng.normal(size=4).astype('f4'),
        'head.bias': rng.normal(size=3).astype('f4'),
    }


def _safetensors(arrays: dict[str, np.ndarray]) -> bytes:
    header: dict[str, Any] = {'__metadata__': {'format': 'pt'}}
    data = b''
    for name, array in arrays.items():
        offsets = [len(data), len(data) + array.nbytes]
        header[name] = dict(dtype='F32', shape=list(array.shape), data_offsets=offsets)
        data += array.tobytes()
    text = json.dumps(header).encode()
    return struct.pack('<Q', len(text)) + text + data


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    members = []
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.save(buffer, array)
        members.append((f'{name}.npy', buffer.getvalue()))
    return zipped(members)


def _make(
    rng: np.random.Generator, name: str, write: Callable[[dict[str, np.ndarray]], bytes]
) -> list[Content]:
    contents = []
    for number in range(2):  # the second one for splices
        arrays = _arrays(rng)
        right = partial(_has_all, arrays)
        contents.append(one_file(f'{number}_{name}', write(arrays), right))
    return contents


def _has_all(arrays: dict[str, np.ndarray], found: dict[str, np.ndarray]) -> bool:
    same = all(np.array_equal(found[name], array) for name, array in arrays.items())
    return same and len(found) == len(arrays)


def _read(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays, as the converter reads them; it also explains those that do not fit."""
    tree = checkpoints.read(path)
    try:
        (_, state), *_ = matching.states(tree)
        shapes = matching.parameters(state)
        found = matching.match_arrays([shapes], matching.network_shapes(_NETWORK))
        reason = recognition.describe_mismatches(found)
    except ModelError as error:  # as the command does
        raise ModelError(f'{path}: {error}') from error
    if not reason.isprintable():
        raise AssertionError(f'{reason!r} is no line')
    return dict(checkpoints.read_arrays(state, path))


READERS = (
    Reader(
        'torch_zip', partial(_make, name='new.pth', write=torch_zip), _read,
        (*pickles.OF_TORCH, *containers.OF_ZIP), share=4,
    ),
    Reader(
        'torch_legacy', partial(_make, name='old.pth', write=torch_legacy), _read,
        pickles.OF_TORCH, share=3,
    ),
    Reader(
        'safetensors', partial(_make, name='x.safetensors', write=_safetensors), _read,
        pickles.OF_SAFETENSORS, share=3,
    ),
    Reader(
        'npz', partial(_make, name='x.npz', write=_npz), _read,
        (*pickles.OF_NPZ, *containers.OF_ZIP), share=3,
    ),
)  # fmt: skip
