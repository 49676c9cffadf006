"""Read and write NNabla's ``.h5`` files, and load their arrays into the registered parameters."""

import errno
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import nnabla as nn
import numpy as np
from numpy.typing import NDArray

from common import __version__, files
from common.errors import UserError
from models import input_statistics as statistics_of
from models.convert import checkpoints, recognition
from models.errors import ModelError
from models.family import NetworkInfo
from models.weights.published import conversion_of, entry_of

Array: TypeAlias = NDArray[Any]  # of numbers

BACKBONE = 'backbone/'  # the prefix that backbone-only files of D3Net leave out
UNREADABLE = (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError)  # h5py, damage


@dataclass(frozen=True)
class LoadReport:
    """What :func:`load` did, by parameter names.

    Attributes:
        loaded: Names in both.
        missing: Names in the network only.
        extra: Names in the file only.
    """

    loaded: list[str]
    missing: list[str]
    extra: list[str]


def load(source: str | os.PathLike[str] | Mapping[str, Array], strict: bool = True) -> LoadReport:
    """Load weights into the registered parameters (``nn.get_parameters(grad_only=False)``).

    Either all that fit are loaded or nothing. Live graphs see the new values.

    Args:
        source: An NNabla ``.h5`` file, or a mapping from names to arrays. A file of a backbone
            alone, whose names lack ``backbone/``, is recognised.
        strict: Whether both sides must have the same names; otherwise a name that only one side has
            is left alone and reported.

    Raises:
        ModelError: A shape differs, nothing fits, a name is missing or unknown though ``strict``,
            or the file cannot be read.
    """
    label = 'the given arrays' if isinstance(source, Mapping) else str(source)
    arrays = dict(source) if isinstance(source, Mapping) else read(source)
    own = nn.get_parameters(grad_only=False)
    backbone_only = not any(name in own for name in arrays) and any(
        BACKBONE + name in own for name in arrays
    )
    if backbone_only:
        arrays = {BACKBONE + name: array for name, array in arrays.items()}
    report = LoadReport(
        [n for n in own if n in arrays],
        [n for n in own if n not in arrays],
        [n for n in arrays if n not in own],
    )
    misshapen = [n for n in report.loaded if own[n].shape != arrays[n].shape]
    if misshapen or not report.loaded or strict and (report.missing or report.extra):
        raise ModelError(
            f'{label} does not fit the network, nothing was loaded: '
            + _misfit(own, arrays, report, misshapen, backbone_only)
        )
    fitting = {n: np.asarray(arrays[n], np.float32) for n in report.loaded}
    for name, array in fitting.items():
        own[name].d = array
    return report


def initialise(source: str | os.PathLike[str], num_classes: int) -> LoadReport:
    """Start a training from weights of a backbone or of a whole network.

    As :func:`load` without ``strict``, but a layer of the registered network that has a map for
    each class keeps its initial values when the file has it for another number of classes; the
    report has it among ``missing``.

    Args:
        source: An NNabla ``.h5`` file.
        num_classes: Number of classes of the registered network.

    Raises:
        ModelError: A shape differs otherwise, nothing fits, or the file cannot be read.
    """
    own, arrays = nn.get_parameters(grad_only=False), read(source)

    def is_of_other_classes(name: str) -> bool:
        shape = own[name].shape
        return arrays[name].shape[1:] == shape[1:] and len(arrays[name]) != shape[0] == num_classes

    try:
        return load(
            {n: a for n, a in arrays.items() if n not in own or not is_of_other_classes(n)},
            strict=False,
        )
    except ModelError as error:
        raise ModelError(str(error).replace('the given arrays', str(source), 1)) from error


def read(path: str | os.PathLike[str]) -> dict[str, Array]:
    """Return all arrays of an NNabla ``.h5`` file by parameter name.

    Raises:
        ModelError: It cannot be read, or is something else.
    """
    kind = kind_of(Path(path))
    if kind != 'file':
        reason = 'a folder, not a file of weights' if kind else 'no such file of weights'
        raise ModelError(f'{path}: {reason}')
    arrays: dict[str, Array] = {}
    try:
        with h5py.File(path, 'r') as file:
            file.visititems(
                lambda name, item: (
                    arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
                )
            )
    except PermissionError as error:
        raise ModelError(
            f'{path}: cannot be read ({os.strerror(error.errno or errno.EACCES)})'
        ) from error
    except UNREADABLE as error:
        published = entry_of(Path(path))
        if published is not None and published.obstacle:
            raise ModelError(f'{path} cannot be used: {published.obstacle}') from error
        if checkpoints.is_checkpoint(Path(path)):
            raise ModelError(
                f'{path} is a checkpoint of PyTorch; convert it first: {conversion_of(Path(path))}'
            ) from error
        reason = ' '.join(str(error).split())
        raise ModelError(
            f'{path} is truncated or not an NNabla .h5 file ({reason}); get it again'
        ) from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray | np.generic) or array.dtype.kind not in 'fiu':
            raise ModelError(f'{path} is not an NNabla .h5 file ({name} is not numbers)')
    return arrays


def input_statistics(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return what a file of weights says of its network's input, as ``mean``, ``std`` and
    ``channel_order``; None for a file that says nothing, or that :func:`read` refuses.
    """
    try:
        with h5py.File(path, 'r') as file:
            return statistics_of.from_attributes(file.attrs)
    except UNREADABLE:
        return None


def save(path: str | os.PathLike[str], info: NetworkInfo | None = None) -> None:
    """Write all registered parameters as an NNabla ``.h5`` file, whole at any moment.

    The file is made in memory first: HDF5 crashes the process when the disk is full.

    Args:
        path: The file to write.
        info: Of the network, the statistics of whose input the file carries; None: none.

    Raises:
        UserError: It cannot be written.
    """
    content = io.BytesIO()
    nn.save_parameters(content, extension='.h5')
    with h5py.File(content, 'r+') as file:
        file.attrs['nnseg_version'] = __version__
        if info is not None:
            file.attrs.update(statistics_of.attributes(statistics_of.of_info(info)))
    with files.replacing(Path(path)) as temporary:
        temporary.write_bytes(content.getbuffer())


def not_hdf5(path: Path) -> str | None:
    """Return what is wrong with a download that should be an HDF5 file; None when it is one."""
    try:
        with h5py.File(path, 'r') as file:
            return None if len(file) else 'sent an empty HDF5 file'
    except UNREADABLE:
        return 'sent something that is not an HDF5 file'


def kind_of(path: Path) -> str | None:
    """Return what :func:`common.files.kind_of` does, with its errors as ``ModelError``."""
    try:
        return files.kind_of(path)
    except UserError as error:
        raise ModelError(str(error)) from error


def _misfit(
    own: Mapping[str, nn.Variable],
    arrays: Mapping[str, Array],
    report: LoadReport,
    misshapen: list[str],
    backbone_only: bool,
) -> str:
    """Say what is wrong, the most telling reason first."""
    if misshapen and not report.missing and not report.extra:
        ours = {own[n].shape[0] for n in misshapen}
        theirs = {arrays[n].shape[0] for n in misshapen if arrays[n].ndim}
        rest_equal = all(own[n].shape[1:] == arrays[n].shape[1:] for n in misshapen)
        if len(ours) == len(theirs) == 1 and rest_equal:
            return (
                f'it has {theirs.pop()} classes and the network has {ours.pop()} (num_classes); '
                f'different in shape: {_some(misshapen)}'
            )
    if backbone_only and not misshapen and not report.extra:
        return (
            'it holds the backbone alone, which initialises a training; '
            f'--partial loads it and leaves {len(report.missing)} parameters as they are'
        )
    names, classes = recognition.networks_of({n: a.shape for n, a in arrays.items()})
    if names:
        number = f' with {classes} classes' if classes else ''
        one = ' or '.join(names[:3])
        return f'it is of {one}{number} (does the config belong to these weights?)'
    if not report.loaded:
        return (
            f'no name in it is one of the network; it has {_some(report.extra) or "nothing"}, '
            f'the network {_some(report.missing) or "no parameters yet: build its graph first"}'
        )
    shapes = [
        f'{n} ({"x".join(map(str, arrays[n].shape))} instead of {"x".join(map(str, own[n].shape))})'
        for n in misshapen
    ]
    parts = [
        f'{len(names)} {what}: {_some(names)}'
        for what, names in (
            ('missing', report.missing),
            ('unknown', report.extra),
            ('of another shape', shapes),
        )
        if names
    ]
    return '; '.join(parts) + ' (does the config belong to these weights?)'


def _some(names: list[str], most: int = 3) -> str:
    return ', '.join(names[:most]) + (', ...' if len(names) > most else '')
