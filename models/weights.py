"""Weights: the table of published files, finding or downloading one, strict loading, atomic saving.

path = find('D3Net-S.h5')              # here, in the project, in the cache folder, or downloaded
models.create('d3net_s')(x)            # registers the parameters
load(path)                             # all of them or none
"""

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import nnabla as nn
import numpy as np

import download
import files
from command import LOG, PROJECT, UserError
from models import input_statistics as statistics_of
from models.convert import checkpoints, recognition
from models.errors import ModelError
from models.family import Info
from models.published import (
    PUBLISHED,
    WITHOUT_DOWNLOAD,
    Published,
    conversion_of,
    entry_of,
    others,
)

MIRROR_VARIABLE = (
    'NNSEG_WEIGHTS_URL'  # environment: a base address that takes the place of the published ones
)
CACHE_VARIABLE = 'NNSEG_CACHE'  # environment: the folder for downloads
BACKBONE = 'backbone/'  # the prefix that backbone-only files of D3Net leave out
UNREADABLE = (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError)  # h5py, damage


def cache_folder() -> Path:
    """Where downloads are kept: ``$NNSEG_CACHE``, else ``nnseg`` in the user's cache folder; raises
    ``ModelError`` when the user has no home.
    """
    own = os.environ.get(CACHE_VARIABLE)
    folder = own or Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache') / 'nnseg'
    return _expanded(folder, f'name a folder for downloads in full with {CACHE_VARIABLE}')


def find(name: str | os.PathLike, mirror: str | None = None) -> Path:
    """The file of weights called ``name``: a path, or the name of a published file (``_`` and ``-``
    are the same).

    A path that exists is taken as it is. Else a published file is looked for beside that path, in
    the project folder and in the cache folder, then downloaded from ``mirror``,
    ``$NNSEG_WEIGHTS_URL`` or the published addresses; the log says which was taken. A path into a
    folder that does not exist is a mistake. Raises ``ModelError``.
    """
    path = _expanded(name, 'write the path in full')
    kind = _kind_of(path)
    if kind == 'file':
        return path
    published = entry_of(path, PUBLISHED)
    folder = path.parents[len(Path(published.file).parts) - 1] if published else path.parent
    reason = None
    if kind == 'folder':
        reason = 'a folder, not a file of weights'
    elif published is not None and published.obstacle:
        reason = f'it is published, but {published.obstacle}'
    elif _kind_of(folder) != 'folder':
        reason = f'there is no folder {folder}'
    elif published is None:
        reason = 'no such file of weights'
    if reason:
        raise ModelError(f'{path}: {reason}; {others(path)}')
    found = (
        _in_folder(folder, published)
        or _in_folder(PROJECT, published)
        or _cached(published)
        or _download(published, mirror)
    )
    if found != path:
        LOG.info('%s: the weights are those of %s', name, found)
    return found


def _expanded(path: str | os.PathLike, advice: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ModelError(f'{path}: no home folder is known for its ~; {advice}') from error


def _kind_of(path: Path) -> str | None:
    """:func:`files.kind_of`, with ``ModelError``."""
    try:
        return files.kind_of(path)
    except UserError as error:
        raise ModelError(str(error)) from error


def _in_folder(folder: Path, published: Published) -> Path | None:
    spellings = (published.file, published.file.replace('-', '_'))
    paths = (folder / spelling for spelling in spellings)
    return next((path for path in paths if _kind_of(path) == 'file'), None)


def _cached(published: Published) -> Path | None:
    """The file in the cache folder, if it is there and still what it was; nothing is written."""
    folder = cache_folder()
    try:
        path = _in_folder(folder, published)
    except ModelError as error:
        raise ModelError(f'{error}; name another folder with {CACHE_VARIABLE}') from error
    if path is None:
        return None
    problem = None
    try:
        if published.sha256 is None:
            problem = download.changed(path)
        elif files.sha256_of(path) != published.sha256:
            problem = (
                f'{path} is not the published file (its SHA-256 is not {published.sha256}); delete '
                'it to download that one, or name yours with its path'
            )
    except OSError as error:
        problem = f'{path}: cannot be read ({error.strerror or error})'
    except download.RecordError as error:
        problem = str(error)
    if problem:
        raise ModelError(problem)
    return path


def _download(published: Published, mirror: str | None) -> Path:
    target = cache_folder() / published.file
    if not published.mirrors:
        raise ModelError(
            f'{published.file} ({published.network}, {published.task}) cannot be downloaded '
            f'without a browser; get it from {published.page} and name it with its path'
        )
    is_nnabla = published.file.endswith('.h5')
    base = mirror or os.environ.get(MIRROR_VARIABLE)
    bases = (base,) if base else published.mirrors
    urls = [f'{base.rstrip("/")}/{published.file}' for base in bases]
    try:
        return download.fetch(
            urls,
            target,
            size=published.size,
            sha256=published.sha256,
            check=_not_hdf5 if is_nnabla else _not_checkpoint,
        )
    except download.DownloadError as error:
        raise ModelError(
            f'cannot download {published.file} ({error}); get it elsewhere and put it at {target}, '
            + (
                f'or name another address with --weights-url or {MIRROR_VARIABLE}; '
                f'{WITHOUT_DOWNLOAD}'
                if is_nnabla
                else f'or name another address with {MIRROR_VARIABLE}'
            )
        ) from error
    except download.RecordError as error:
        raise ModelError(str(error)) from error
    except UserError as error:
        raise ModelError(f'{error}; name another folder with {CACHE_VARIABLE}') from error


def _not_hdf5(path: Path) -> str | None:
    try:
        with h5py.File(path, 'r') as file:
            return None if len(file) else 'sent an empty HDF5 file'
    except UNREADABLE:
        return 'sent something that is not an HDF5 file'


def _not_checkpoint(path: Path) -> str | None:
    is_one = checkpoints.is_checkpoint(path)
    return None if is_one else 'sent something that is not a checkpoint of PyTorch'


@dataclass(frozen=True)
class LoadReport:
    """Parameter names by what :func:`load` did: in both, only in the network, only in the file."""

    loaded: list[str]
    missing: list[str]
    extra: list[str]


def load(source: str | os.PathLike | Mapping, strict: bool = True) -> LoadReport:
    """Load weights into the registered parameters (``nn.get_parameters(grad_only=False)``): all
    that fit, or nothing.

    source: an NNabla ``.h5`` file or a mapping from names to arrays. A file of a backbone alone,
        whose names lack ``backbone/``, is recognised. strict: every parameter must be there, and
        nothing else; otherwise names that only one side has are left alone and reported. A shape
        that differs is an error either way, and so is a file from which nothing fits. Live graphs
        see the new values. Raises ``ModelError``.
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


def initialise(source: str | os.PathLike, num_classes: int) -> LoadReport:
    """Start a training from the weights of ``source``, of a backbone or of a whole network.

    As :func:`load` where not strict, but a layer of the registered network that has a map for each
    of its ``num_classes`` keeps its initial values when the file has it for other classes; it is in
    the report's ``missing``. Raises ``ModelError``.
    """
    own, arrays = nn.get_parameters(grad_only=False), read(source)

    def is_of_other_classes(name):
        shape = own[name].shape
        return arrays[name].shape[1:] == shape[1:] and len(arrays[name]) != shape[0] == num_classes

    try:
        return load(
            {n: a for n, a in arrays.items() if n not in own or not is_of_other_classes(n)},
            strict=False,
        )
    except ModelError as error:
        raise ModelError(str(error).replace('the given arrays', str(source), 1)) from error


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """All arrays of an NNabla ``.h5`` file by parameter name; ``ModelError`` when it cannot be
    read.
    """
    kind = _kind_of(Path(path))
    if kind != 'file':
        reason = 'a folder, not a file of weights' if kind else 'no such file of weights'
        raise ModelError(f'{path}: {reason}')
    arrays = {}
    try:
        with h5py.File(path, 'r') as file:
            file.visititems(
                lambda name, item: (
                    arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
                )
            )
    except PermissionError as error:
        raise ModelError(f'{path}: cannot be read ({os.strerror(error.errno)})') from error
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


def input_statistics(path: str | os.PathLike) -> dict | None:
    """Return what a file of weights says of its network's input, as ``mean``, ``std`` and
    ``channel_order``; None for a file that says nothing, or that :func:`read` refuses.
    """
    try:
        with h5py.File(path, 'r') as file:
            return statistics_of.from_attributes(file.attrs)
    except UNREADABLE:
        return None


def save(path: str | os.PathLike, info: Info | None = None):
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
    if info is not None:
        with h5py.File(content, 'r+') as file:
            file.attrs.update(statistics_of.attributes(statistics_of.of_info(info)))
    with files.replacing(Path(path)) as temporary:
        temporary.write_bytes(content.getbuffer())


def _misfit(own, arrays, report: LoadReport, misshapen: list[str], backbone_only: bool) -> str:
    """What is wrong, the most telling reason first."""
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
