"""Read and write NNabla's ``.h5`` files, and load their arrays into the registered parameters."""

import errno
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import nnabla as nn
import numpy as np
from numpy.typing import NDArray

from common import __version__, files
from common.errors import UserError
from common.log import LOG
from common.reading import hdf5
from common.reading.finite import non_finite
from common.terminal.name_list import first_names
from common.terminal.short_repr import short_text
from layers.workspace import NNABLA_LOCK
from models import class_table as classes_of
from models import input_statistics as statistics_of
from models.class_table import ClassTable
from models.convert import networks_of_weights
from models.errors import ModelError, NonFiniteError
from models.family import NetworkInfo
from models.weights import foreign_files

Array: TypeAlias = NDArray[Any]  # with a numeric type

BACKBONE_PREFIX = 'backbone/'  # missing in the names of D3Net's files of a backbone alone


@dataclass(frozen=True)
class LoadReport:
    """The result of :func:`load` or of :func:`models.weights.initialise`.

    Attributes:
        loaded: Names of the loaded parameters.
        missing: Names that only the network has.
        extra: Names that only the file has.
        copied: For loaded parameters that the file has under another name, that name.
    """

    loaded: list[str]
    missing: list[str]
    extra: list[str]
    copied: Mapping[str, str] = field(default_factory=dict)


def load(
    source: str | os.PathLike[str] | Mapping[str, Array],
    strict: bool = True,
    allow_non_finite: bool = False,
) -> LoadReport:
    """Load weights into the registered parameters (``nn.get_parameters(grad_only=False)``).

    All checks precede the first assignment, so an error changes no parameter. Existing graphs use
    the new values.

    Args:
        source: An NNabla ``.h5`` file, or a mapping from names to arrays. A file of a backbone
            alone, whose names lack ``backbone/``, is recognised.
        strict: Whether file and network must have the same names. Otherwise names that only one of
            them has are ignored and reported.
        allow_non_finite: Whether NaN and infinity are loaded like other values.

    Returns:
        The names that were loaded, missing and extra.

    Raises:
        ModelError: A shape differs, no name matches, the file cannot be read, a value is not an
            array of numbers, or with ``strict`` a name is missing or unknown.
        NonFiniteError: A loaded array has NaN or infinity, also as float32.
    """
    label = 'the given arrays' if isinstance(source, Mapping) else str(source)
    arrays = dict(source) if isinstance(source, Mapping) else read(source)
    for name, array in arrays.items():
        if not isinstance(getattr(array, 'dtype', None), np.dtype):
            raise ModelError(f'{label}: {short_text(name)} is not an array of NumPy')
    with NNABLA_LOCK:
        return _load(arrays, strict, label, allow_non_finite)


def _load(arrays: dict[str, Array], strict: bool, label: str, allow_non_finite: bool) -> LoadReport:
    own = nn.get_parameters(grad_only=False)
    backbone_only = not any(name in own for name in arrays) and any(
        BACKBONE_PREFIX + name in own for name in arrays
    )
    if backbone_only:
        arrays = {BACKBONE_PREFIX + name: array for name, array in arrays.items()}
    report = LoadReport(
        [n for n in own if n in arrays],
        [n for n in own if n not in arrays],
        [n for n in arrays if n not in own],
    )
    wrong_shape = [n for n in report.loaded if own[n].shape != arrays[n].shape]
    if wrong_shape or not report.loaded or strict and (report.missing or report.extra):
        raise ModelError(
            f'{label} does not fit the network, nothing was loaded: '
            + _explain_mismatch(own, arrays, report, wrong_shape, backbone_only)
        )
    for name in report.loaded:
        if arrays[name].dtype.kind not in 'fiub':
            raise ModelError(f'{label}: {name} is not numeric ({arrays[name].dtype})')
    with np.errstate(over='ignore'):  # the check finds what is infinite as float32
        fitting = {n: np.asarray(arrays[n], np.float32) for n in report.loaded}
    _check_finite(fitting, label, allow_non_finite)
    for name, array in fitting.items():
        own[name].d = array
    return report


def read(path: str | os.PathLike[str]) -> dict[str, Array]:
    """Return all arrays of an NNabla ``.h5`` file by parameter name.

    Args:
        path: The file.

    Raises:
        ModelError: The file cannot be read, or is not a file of weights.
    """
    kind = kind_of(Path(path))
    if kind != 'file':
        reason = 'a folder, not a file of weights' if kind else 'no such file of weights'
        raise ModelError(f'{path}: {reason}')
    try:
        files.log_if_large('reading', Path(path))
        names = hdf5.list_arrays(path)
        with h5py.File(path, 'r') as file:
            arrays = {name: hdf5.read(file, name) for name in names}
    except PermissionError as error:
        raise ModelError(
            f'{path}: cannot be read ({os.strerror(error.errno or errno.EACCES)})'
        ) from error
    except hdf5.HDF5_ERRORS as error:
        if foreign := foreign_files.explain(Path(path)):
            raise ModelError(foreign) from error
        raise ModelError(f'{path} {hdf5.problem(error, "an NNabla .h5 file")}') from error
    for name, array in arrays.items():
        if array.dtype.kind not in 'fiu' or not array.size:
            problem = 'is not numeric' if array.size else 'has no values'
            raise ModelError(f'{path} is not an NNabla .h5 file ({name} {problem})')
    return arrays


def input_statistics(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return the input statistics that a file of weights stores.

    Args:
        path: The file.

    Returns:
        ``mean``, ``std`` and ``channel_order``; None if the file stores none or is unreadable.

    Raises:
        ModelError: The arrays can be read, but the attributes are damaged.
    """
    found = _attributes(path, statistics_of.ATTRIBUTES)
    statistics = statistics_of.from_attributes(found)
    if found and statistics is None:
        LOG.warning('%s: the input statistics that it stores are invalid and are ignored', path)
    return statistics


def class_table(path: str | os.PathLike[str]) -> ClassTable | None:
    """Return the names and colours of the classes that a file of weights stores.

    Args:
        path: The file.

    Returns:
        The table; None if the file stores none or is unreadable.

    Raises:
        ModelError: The arrays can be read, but the attributes are damaged.
    """
    return classes_of.from_attributes(_attributes(path, classes_of.ATTRIBUTES))


def _attributes(path: str | os.PathLike[str], names: Sequence[str]) -> dict[str, Any]:
    """Return those of the named attributes that a file has; none of an unreadable file.

    Raises:
        ModelError: The attributes alone are damaged, without which results would be others.
    """
    try:
        return hdf5.attributes(path, names)
    except hdf5.HDF5_ERRORS as error:
        try:
            hdf5.list_arrays(path)
        except hdf5.HDF5_ERRORS:
            return {}  # load() says why
        raise ModelError(f'{path} {hdf5.problem(error, "an NNabla .h5 file")}') from error


def save(
    path: str | os.PathLike[str],
    info: NetworkInfo | None = None,
    classes: ClassTable | None = None,
) -> None:
    """Write all registered parameters atomically as an NNabla ``.h5`` file.

    The content is built in memory first, because HDF5 crashes the process when the disk is full.
    The attribute ``nnseg_version`` stores the version of this project.

    Args:
        path: The file to write.
        info: Facts of the network, whose input statistics are stored in the file. Without it, no
            statistics are stored.
        classes: Names and colours of the classes, to store in the file as well.

    Raises:
        UserError: The file cannot be written.
    """
    content = io.BytesIO()
    with NNABLA_LOCK:
        nn.save_parameters(content, extension='.h5')
    with h5py.File(content, 'r+') as file:
        file.attrs['nnseg_version'] = __version__
        if info is not None:
            file.attrs.update(statistics_of.attributes(statistics_of.of_info(info)))
        if classes is not None:
            file.attrs.update(classes_of.attributes(classes))
    with files.replacing(Path(path)) as temporary:
        temporary.write_bytes(content.getbuffer())


def not_hdf5(path: Path) -> str | None:
    """Return why a downloaded file is not a valid HDF5 file; None if it is valid."""
    try:
        return None if hdf5.list_arrays(path) else 'sent an empty HDF5 file'
    except hdf5.HDF5_ERRORS:
        return 'sent something that is not an HDF5 file'


def kind_of(path: Path) -> str | None:
    """Call :func:`common.files.kind_of` and raise its errors as ``ModelError``."""
    try:
        return files.kind_of(path)
    except UserError as error:
        raise ModelError(str(error)) from error


def _check_finite(arrays: Mapping[str, Array], label: str, allowed: bool) -> None:
    """Raise ``NonFiniteError``, or warn if it is allowed, for arrays with NaN or infinity."""
    for name, array in arrays.items():
        if problem := non_finite(array):
            if not allowed:
                raise NonFiniteError(f'{label}: {name} has {problem}; use other weights')
            LOG.warning('%s: %s has %s, so results may be meaningless', label, name, problem)
            return


def _explain_mismatch(
    own: Mapping[str, nn.Variable],
    arrays: Mapping[str, Array],
    report: LoadReport,
    wrong_shape: list[str],
    backbone_only: bool,
) -> str:
    """Return the most specific reason why arrays do not fit the registered parameters."""
    if wrong_shape and not report.missing and not report.extra:
        ours = {own[n].shape[0] for n in wrong_shape}
        theirs = {arrays[n].shape[0] for n in wrong_shape if arrays[n].ndim}
        rest_equal = all(own[n].shape[1:] == arrays[n].shape[1:] for n in wrong_shape)
        if len(ours) == len(theirs) == 1 and rest_equal:
            own_count = theirs.pop()
            return (
                f'it has {own_count} classes and the network has {ours.pop()}: set num_classes to '
                f'{own_count}, or choose the config of these weights; different in shape: '
                f'{first_names(wrong_shape)}'
            )
    if backbone_only and not wrong_shape and not report.extra:
        return (
            'it holds the backbone alone, for the initialisation of a training; '
            f'--partial loads it and keeps the other {len(report.missing)} parameters unchanged'
        )
    in_file = {n: a.shape for n, a in arrays.items()}
    names, number = networks_of_weights.networks_with_parameters(in_file)
    if names:
        one = ' or '.join(names[:3])
        return f'it is of {one}{number} (does the config belong to these weights?)'
    if not report.loaded:
        return (
            f'no name in it is in the network; it has {first_names(report.extra) or "nothing"}, '
            'the network '
            f'{first_names(report.missing) or "no parameters yet: build its graph first"}'
        )
    shapes = [
        f'{n} ({"x".join(map(str, arrays[n].shape))} instead of {"x".join(map(str, own[n].shape))})'
        for n in wrong_shape
    ]
    parts = [
        f'{len(names)} {what}: {first_names(names)}'
        for what, names in (
            ('missing', report.missing),
            ('unknown', report.extra),
            ('with another shape', shapes),
        )
        if names
    ]
    return '; '.join(parts) + ' (does the config belong to these weights?)'
