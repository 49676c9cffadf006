"""Save and load the state of a training run, so that it resumes as if never interrupted.

    save(folder / 'state.h5', TrainingState(iteration=8000, parameters=..., ...))
    state = load(folder / 'state.h5')

The file is an HDF5 file with a header in its user block, the first 512 bytes, which HDF5 reserves
for applications. The header holds the SHA-256 of the rest, so that HDF5 never reads a damaged
file, which can crash it.
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
from common.log import LOG
from common.reading import hdf5
from common.reading.finite import non_finite
from engine.runs import state_facts
from models.weights.foreign_files import STATE_MAGIC as MAGIC

HEADER_BYTES = 512  # the smallest user block
VERSION = b'2'
ARRAYS = ('parameters', 'solver', 'average')
ADVICE = 'start from weights (-p model_param_*.h5 or best.h5 of a run) in another folder (-o)'
# Config keys that do not influence the parameters of a training that has begun: initial weights,
# paths, names, memory, validation and saving. The keys with EVALUATION_PREFIX do not either.
KEYS_WITHOUT_INFLUENCE = {
    'weights',
    'pretrained',
    'data_dir',
    'classes',
    'palette',
    'task_classes',
    'recompute',
    'val_split',
    'val_interval',
    'save_interval',
    'save_minutes',
    'keep_checkpoints',
    'best_task',
    'best_weights',
}
EVALUATION_PREFIX = 'test_'


@dataclass(eq=False)
class TrainingState:
    """The state of a run after ``iteration`` completed iterations.

    Arrays of any numeric type are stored by name; their order is kept. The values of all other
    attributes must be representable in JSON, with string keys and finite numbers. Tuples are loaded
    as lists.

    Attributes:
        iteration: Number of completed iterations.
        parameters: Arrays of all parameters, including batch statistics.
        solver: Arrays of the solver's momenta and counts.
        average: Arrays of the parameters' moving average, or None.
        loader: State of the data loader.
        loss_scale: State of the loss scale, or None.
        best: Best score and its iteration, or None.
        seed: Random seed of the run.
        config: The effective config.
        processes: Number of processes of the run.
        options: Values of the command-line options that affect results, as typed; ``on`` or ``off``
            for flags.
        versions: Versions of the packages.
        name: Name of the config.
        extras: Further facts.
        scaled: Whether ``reference_batch`` has scaled milestones and warm-up. False for files
            without this field.
        task_scales: State of the learned scales of several tasks, or None.
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
    task_scales: dict | None = None


FACTS = tuple(f.name for f in fields(TrainingState) if f.name not in ARRAYS)


def save(path: str | os.PathLike, state: TrainingState):
    """Write a state atomically and durably, even if the machine crashes.

    The file is built in memory first, because HDF5 crashes the process if the disk is full.

    Args:
        path: File to write.
        state: State of the run.

    Raises:
        UserError: The file cannot be written.
        ValueError: A value would not be loaded unchanged.
    """
    groups = {group: getattr(state, group) for group in ARRAYS}
    size = sum(
        np.asarray(array).nbytes for each in groups.values() for array in (each or {}).values()
    )
    if size >= files.LARGE_BYTES:
        LOG.info('saving the state of iteration %d, %d MB', state.iteration, size / 1e6)
    facts = {name: getattr(state, name) for name in FACTS}
    if state.task_scales is None:  # older versions refuse facts that they do not know
        del facts['task_scales']
    names = {group: None if arrays is None else list(arrays) for group, arrays in groups.items()}
    content = io.BytesIO()
    with h5py.File(content, 'w', userblock_size=HEADER_BYTES) as file:
        # As data sets, because an HDF5 attribute holds at most 64 KiB.
        file['facts'] = np.frombuffer(_as_json(facts), np.uint8)
        file['names'] = np.frombuffer(_as_json(names), np.uint8)
        for group, arrays in groups.items():
            for number, (name, array) in enumerate((arrays or {}).items()):
                if np.asarray(array).dtype.kind not in 'fiub':
                    raise ValueError(f'{group}: {name} is not an array of numbers')
                file[f'{group}/{number}'] = array
    with content.getbuffer() as buffer:
        digest = hashlib.sha256(buffer[HEADER_BYTES:]).hexdigest()
        header = b'%s %s\n%s\n%d\n' % (MAGIC, VERSION, digest.encode(), len(buffer))
        buffer[:HEADER_BYTES] = header.ljust(HEADER_BYTES, b'\n')
        with files.replacing(Path(path), durable=True) as temporary:
            temporary.write_bytes(buffer)


def load(path: str | os.PathLike) -> TrainingState:
    """Read a state.

    Raises:
        UserError: The file is missing, damaged or not a state, or a value in it is not finite.
    """

    def read(file, listed):
        facts = _read_facts(file, listed)
        names = state_facts.check_names(_read_json(file, 'names', listed), ARRAYS)
        places = {
            f'{group}/{number}': (group, name)
            for group, each in names.items()
            for number, name in enumerate(each or ())
        }
        if set(listed) != {'facts', 'names', *places} or None in (
            names['parameters'],
            names['solver'],
        ):
            raise ValueError('its names do not fit its arrays')
        arrays = {group: None if each is None else {} for group, each in names.items()}
        for place, (group, name) in places.items():
            array = arrays[group][name] = hdf5.read(file, place)
            if problem := non_finite(array):
                raise ValueError(f'{hdf5.shown(name)} of the {group} has {problem}')
        return TrainingState(**facts, **arrays)

    return _read(Path(path), read)


def load_facts(path: str | os.PathLike) -> dict:
    """Read all attributes of a state except the arrays, which needs little memory.

    Raises:
        UserError: The file is missing, damaged or not a state.
    """
    return _read(Path(path), _read_facts)


def config_changes(old: Mapping, new: Mapping) -> list[str]:
    """Compare the config of a run with the config that it resumes with.

    ``KEYS_WITHOUT_INFLUENCE`` and the keys that begin with ``test_`` are skipped, because they do
    not influence the parameters of a running training.

    Args:
        old: Config of the saved run.
        new: Config of the resumed run.

    Returns:
        One text per changed key, such as ``lr: 0.01 was 0.02``.
    """
    keys = (
        key
        for key in dict.fromkeys([*new, *old])
        if key not in KEYS_WITHOUT_INFLUENCE and not key.startswith(EVALUATION_PREFIX)
    )
    return _differences(old, new, keys)


def option_changes(old: Mapping, new: Mapping) -> list[str]:
    """Compare the options of a run with the options that it resumes with.

    Args:
        old: Options of the saved run.
        new: Options of the resumed run.

    Returns:
        One text per changed option, such as ``--tf32: on was off``.
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
    """Encode a dictionary as JSON; raise ``ValueError`` if decoding changes more than tuples."""
    for name, part in value.items():
        try:
            if json.loads(json.dumps(part, allow_nan=False)) == _with_lists(part):
                continue
            problem = 'JSON supports string keys only'
        except (TypeError, ValueError) as error:
            problem = str(error)
        raise ValueError(f'{name} cannot be saved: {problem}')
    return json.dumps(value).encode()


def _with_lists(value):
    if isinstance(value, dict):
        return {key: _with_lists(part) for key, part in value.items()}
    return [_with_lists(part) for part in value] if isinstance(value, tuple | list) else value


def _read_facts(file: h5py.File, listed: list[str]) -> dict:
    return state_facts.check(_read_json(file, 'facts', listed))


def _read_json(file: h5py.File, name: str, listed: list[str]):
    if name not in listed:
        raise ValueError(f'{name} is missing')
    content = hdf5.read(file, name)
    if content.dtype != np.uint8 or content.ndim != 1:
        raise ValueError(f'{name} is not JSON')
    return state_facts.decode(content.tobytes(), name)


def _read(path: Path, read):
    """Return ``read(file, names of its arrays)`` for a state, after a check of its SHA-256."""
    if files.kind_of(path) != 'file':
        raise UserError(f'{path}: no such training state; leave out --resume to start a training')
    try:
        files.log_if_large('reading', path)
        with open(path, 'rb') as stream:
            problem = _damage(stream)
            if problem is None:
                stream.seek(0)
                listed = hdf5.list_arrays(stream)
                with h5py.File(stream, 'r') as file:
                    return read(file, listed)
    except hdf5.HDF5_ERRORS as error:
        reason = getattr(error, 'strerror', None) or ' '.join(str(error).split())
        problem = f'cannot be read ({reason or "there is too little memory"})'
    raise UserError(f'{path} {problem}; {ADVICE}')


def _damage(stream: BinaryIO) -> str | None:
    """Read a whole file and return its problem; None if its header and its digest are right."""
    head = stream.read(HEADER_BYTES)
    lines = head.split(b'\n')
    magic, _, version = lines[0].rpartition(b' ')
    if magic != MAGIC or len(lines) < 3:
        return 'is not a training state'
    if version != VERSION:
        return 'was written by another version of this program'
    digest = hashlib.sha256()
    while chunk := stream.read(1 << 20):
        digest.update(chunk)
    if lines[2] != b'%d' % stream.tell():
        return f'is truncated: it has {stream.tell()} bytes'
    if lines[1] != digest.hexdigest().encode():
        return 'is damaged: its SHA-256 differs from the one recorded when it was written'
    return None
