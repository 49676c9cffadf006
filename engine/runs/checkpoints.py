"""The state of a training: all that a run needs to go on as if it had never stopped.

    save(folder / 'state.h5', TrainingState(iteration=8000, parameters=..., ...))
    state = load(folder / 'state.h5')

The file is one HDF5 file with a header in its user block, the first 512 bytes, which HDF5 leaves
to its users. The header holds the SHA-256 of the rest, so that HDF5 never sees a damaged file,
which it may answer with a crash.
"""

import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np

from common import files
from common.errors import UserError

HEADER_SIZE = 512  # bytes; the smallest user block
MAGIC, VERSION = b'nnseg training state', b'2'
ARRAYS = ('parameters', 'solver', 'average')
ADVICE = 'start from weights (-p model_param_*.h5 or best.h5 of a run) in another folder (-o)'
# Keys of a config that say where a training starts, where its data is, what it computes in which
# memory and what is looked at or kept on the way; and, by their prefix, how it is evaluated.
WITHOUT_INFLUENCE = {
    'weights',
    'pretrained',
    'data_dir',
    'classes',
    'palette',
    'recompute',
    'val_split',
    'val_interval',
    'save_interval',
    'save_minutes',
    'keep_checkpoints',
}
OF_EVALUATION = 'test_'


@dataclass(eq=False)
class TrainingState:
    """What a run is made of after ``iteration`` completed iterations.

    parameters: all of them, batch statistics too. solver: its momenta and counts. average: the
        moving average of the parameters, where one is kept. These are arrays by name, of any type
        of number, in an order that is kept.
    loader, loss_scale, best (score and iteration), config (the effective one), versions, extras:
        what JSON can hold, with strings for keys and finite numbers; tuples come back as lists.
    processes: how many have trained it. options: those of the command line that change numbers, as
        they are written, with ``on`` or ``off`` for those without a value. name: the config's.
    scaled: whether ``reference_batch`` has scaled milestones and warm-up; it did not in states
        without this field.
    """

    iteration: int
    parameters: dict[str, np.ndarray]
    solver: dict[str, np.ndarray]
    average: dict[str, np.ndarray] | None
    loader: dict
    loss_scale: dict | None
    best: dict | None
    seed: int
    config: dict
    processes: int
    options: dict
    versions: dict
    name: str = ''
    extras: dict = field(default_factory=dict)
    scaled: bool = False


FACTS = tuple(f.name for f in fields(TrainingState) if f.name not in ARRAYS)


def save(path: str | os.PathLike, state: TrainingState):
    """Write a state, whole at any moment, also when the machine crashes.

    The file is made in memory first: HDF5 crashes the process when the disk is full. Raises
    ``UserError`` when it cannot be written, and ``ValueError`` for what the file cannot give back.
    """
    groups = {group: getattr(state, group) for group in ARRAYS}
    facts = {name: getattr(state, name) for name in FACTS}
    names = {group: None if arrays is None else list(arrays) for group, arrays in groups.items()}
    content = io.BytesIO()
    with h5py.File(content, 'w', userblock_size=HEADER_SIZE) as file:
        # As data: an attribute of HDF5 holds no more than 64 KiB.
        file['facts'] = np.frombuffer(_as_json(facts), np.uint8)
        file['names'] = np.frombuffer(_as_json(names), np.uint8)
        for group, arrays in groups.items():
            for number, (name, array) in enumerate((arrays or {}).items()):
                if np.asarray(array).dtype.kind not in 'fiub':
                    raise ValueError(f'{group}: {name} is not an array of numbers')
                file[f'{group}/{number}'] = array
    with content.getbuffer() as buffer:
        digest = hashlib.sha256(buffer[HEADER_SIZE:]).hexdigest()
        header = b'%s %s\n%s\n%d\n' % (MAGIC, VERSION, digest.encode(), len(buffer))
        buffer[:HEADER_SIZE] = header.ljust(HEADER_SIZE, b'\n')
        with files.replacing(Path(path), durable=True) as temporary:
            temporary.write_bytes(buffer)


def load(path: str | os.PathLike) -> TrainingState:
    """Read a state; raises ``UserError`` when the file is missing, damaged or something else."""

    def read(file):
        groups = json.loads(file['names'][()].tobytes())
        arrays = {
            group: None
            if names is None
            else {name: file[f'{group}/{number}'][()] for number, name in enumerate(names)}
            for group, names in groups.items()
        }
        # h5py gives what has no dimensions as a scalar.
        for group in filter(None, arrays.values()):
            group.update({name: np.asarray(array) for name, array in group.items()})
        return TrainingState(**json.loads(file['facts'][()].tobytes()), **arrays)

    return _read(Path(path), read)


def facts(path: str | os.PathLike) -> dict:
    """The fields of a state that are no arrays, which takes little memory; ``UserError`` as for
    :func:`load`.
    """
    return _read(Path(path), lambda file: json.loads(file['facts'][()].tobytes()))


def changes(old: Mapping, new: Mapping) -> list[str]:
    """What differs between the config of a run and the one it shall go on with, a text per key:
    ``lr: 0.01 was 0.02``.

    Left out are the keys that do not influence the parameters of a run that has started:
    ``WITHOUT_INFLUENCE`` and what begins with ``test_``.
    """
    keys = (
        key
        for key in dict.fromkeys([*new, *old])
        if key not in WITHOUT_INFLUENCE and not key.startswith(OF_EVALUATION)
    )
    return _differences(old, new, keys)


def changed_options(old: Mapping, new: Mapping) -> list[str]:
    """What differs between the options of a run and those it shall go on with, a text per option:
    ``--tf32: on was off``.
    """
    return _differences(old, new, dict.fromkeys([*new, *old]))


def _differences(old: Mapping, new: Mapping, keys: Iterable[str]) -> list[str]:
    texts = []
    for key in keys:
        if old.get(key) != new.get(key):
            now, before = (
                values[key] if values.get(key) is not None else 'not set' for values in (new, old)
            )
            texts.append(f'{key}: {now} was {before}')
    return texts


def _as_json(value: dict) -> bytes:
    """JSON that is read as an equal value again, but for tuples; raises ``ValueError`` when there
    is none.
    """
    for name, part in value.items():
        try:
            if json.loads(json.dumps(part, allow_nan=False)) == _with_lists(part):
                continue
            problem = 'JSON has no other keys than strings'
        except (TypeError, ValueError) as error:
            problem = str(error)
        raise ValueError(f'{name} cannot be kept: {problem}')
    return json.dumps(value).encode()


def _with_lists(value):
    if isinstance(value, dict):
        return {key: _with_lists(part) for key, part in value.items()}
    return [_with_lists(part) for part in value] if isinstance(value, tuple | list) else value


def _read(path: Path, read):
    """``read(file)`` for the HDF5 file at ``path`` once its content is found to be whole."""
    if files.kind_of(path) != 'file':
        raise UserError(f'{path}: no such state of a training; leave out --resume to start one')
    try:
        with open(path, 'rb') as stream:
            problem = _damage(stream)
            if problem is None:
                stream.seek(0)
                with h5py.File(stream, 'r') as file:
                    return read(file)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        reason = getattr(error, 'strerror', None) or ' '.join(str(error).split())
        problem = f'cannot be read ({reason})'
    raise UserError(f'{path} {problem}; {ADVICE}')


def _damage(stream: BinaryIO) -> str | None:
    """What is wrong with a file, from its header and all its bytes."""
    head = stream.read(HEADER_SIZE)
    lines = head.split(b'\n')
    magic, _, version = lines[0].rpartition(b' ')
    if magic != MAGIC or len(lines) < 3:
        return 'is not a state of a training'
    if version != VERSION:
        return 'was written by another version of this program'
    digest = hashlib.sha256()
    while chunk := stream.read(1 << 20):
        digest.update(chunk)
    if lines[2] != b'%d' % stream.tell():
        return f'is truncated: it has {stream.tell()} bytes'
    if lines[1] != digest.hexdigest().encode():
        return 'is damaged: its SHA-256 is another than when it was written'
    return None
