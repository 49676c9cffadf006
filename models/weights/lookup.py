"""Find a file of weights by path or published name, or download it and verify the download."""

import difflib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from common import PROJECT, files
from common.downloading import download
from common.errors import UserError
from common.files import CACHE_VARIABLE, cache_folder
from common.log import LOG
from common.writing import cache_entries
from models.convert import checkpoints
from models.errors import ModelError
from models.family import Published
from models.structure import SINGLE, Structure
from models.weights import foreign_files
from models.weights.h5 import kind_of, not_hdf5
from models.weights.published import BUNDLED_CONFIG_HINT, alternatives_to, entry_of

RUN_WEIGHTS = ('best.h5', 'final.h5')  # those of a run that are named first
# Environment variable with a base address that replaces the published ones.
MIRROR_VARIABLE = 'NNSEG_WEIGHTS_URL'


@contextmanager
def _as_model_errors() -> Iterator[None]:
    """Convert a ``UserError`` of the decorated function to a ``ModelError``."""
    try:
        yield
    except UserError as error:
        raise ModelError(str(error)) from error


def find_for(
    network: str,
    num_classes: int,
    name: str | os.PathLike[str],
    mirror: str | None = None,
    structure: Structure = SINGLE,
) -> Path:
    """Return the path of the weights of a network; :func:`find` describes the other arguments.

    Args:
        network: Name of the network.
        num_classes: Its number of classes.
        name: See :func:`find`.
        mirror: See :func:`find`.
        structure: Its inputs and tasks.

    Raises:
        ModelError: As :func:`find`, or the file holds no NNabla weights; the message says how to
            convert it for this network.
    """
    path = find(name, mirror)
    try:
        foreign = foreign_files.explain(path, network, num_classes, structure)
    except OSError as error:
        raise ModelError(f'{path}: cannot be read ({error.strerror or error})') from error
    if foreign:
        raise ModelError(foreign)
    return path


@_as_model_errors()
def find(name: str | os.PathLike[str], mirror: str | None = None) -> Path:
    """Return the path of a file of weights, after a download if necessary.

    The path of an existing file is returned as it is, except for a ``~``. A published file is
    searched for in the folder of ``name``, in the project folder and in the cache folder, and
    downloaded if none has it. The log names the file if it differs from ``name``.

    Args:
        name: A path, or the name of a published file, in which ``_`` and ``-`` count as the same
            character.
        mirror: Base address to download from; None for ``$NNSEG_WEIGHTS_URL``, else the published
            addresses.

    Raises:
        ModelError: There is no such file, its folder does not exist, or it cannot be downloaded.
    """
    path = files.expanded(name, 'write the path in full')
    kind = kind_of(path)
    if kind == 'file':
        return path
    published = entry_of(path)
    folder = path.parents[len(Path(published.file).parts) - 1] if published else path.parent
    reason = None
    if kind == 'folder':
        raise ModelError(f'{path}: a folder, not a file of weights; {_weights_in(path)}')
    if published is not None and published.obstacle:
        reason = f'it is published, but {published.obstacle}'
    elif kind_of(folder) != 'folder':
        reason = f'there is no folder {folder}'
    elif published is None and (others := _weights_beside(path)):
        raise ModelError(f'{path}: no such file of weights; its folder has {", ".join(others)}')
    elif published is None:
        reason = 'no such file of weights'
    if reason or published is None:
        raise ModelError(f'{path}: {reason}; {alternatives_to(path)}')
    found = (
        _in_folder(folder, published)
        or _in_folder(PROJECT, published)
        or _cached(published)
        or _download(published, mirror)
    )
    if found != path:
        LOG.info('%s: using the weights in %s', name, found)
    return found


def stored(name: str | os.PathLike[str]) -> Path | None:
    """Return the file that :func:`find` uses for ``name``; None if it needs a download or fails."""
    with suppress(UserError):
        path = files.expanded(name, 'write the path in full')
        if kind_of(path) == 'file':
            return path
        published = entry_of(path)
        if published is not None:
            beside = path.parents[len(Path(published.file).parts) - 1]
            return (
                _in_folder(beside, published)
                or _in_folder(PROJECT, published)
                or _in_folder(cache_folder(), published)
            )
    return None


def _weights_beside(path: Path) -> list[str]:
    """Return up to three .h5 files in the folder of a missing one, similar names first."""
    names = [other.name for other in files.listing(path.parent) if other.suffix == '.h5']
    names.sort(key=lambda name: -difflib.SequenceMatcher(None, name, path.name).ratio())
    return names[:3] if path.suffix == '.h5' else []


def _weights_in(folder: Path) -> str:
    """Return advice on the weights in a folder, such as that of a run, or on others."""
    names = [path.name for path in files.listing(folder) if path.suffix == '.h5']
    names.sort(key=lambda name: (name not in RUN_WEIGHTS, name))
    if not names:
        return f'it holds no .h5; {alternatives_to(folder)}'
    return f'pass one of the files in it, such as {folder / names[0]}'


def _in_folder(folder: Path, published: Published) -> Path | None:
    spellings = (published.file, published.file.replace('-', '_'))
    paths = (folder / spelling for spelling in spellings)
    return next((path for path in paths if kind_of(path) == 'file'), None)


def _cached(published: Published) -> Path | None:
    """Return a published file in the cache folder, or None; raise an error if it has changed."""
    folder = cache_folder()
    try:
        path = _in_folder(folder, published)
    except ModelError as error:
        raise ModelError(f'{error}; set another folder with {CACHE_VARIABLE}') from error
    if path is None:
        return None
    problem = None
    try:
        if published.sha256 is None:
            problem = download.digest_mismatch(path)
        elif files.sha256_of(path) != published.sha256:
            problem = (
                f'{path} is not the published file (its SHA-256 is not {published.sha256}); delete '
                'it to download the published one, or pass the path of your own file'
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
    with suppress(OSError):  # the download says why it cannot write
        cache_entries.create_folder(target.parent)
    if not published.mirrors:
        raise ModelError(
            f'{published.file} ({published.network}, {published.task}) cannot be downloaded '
            f'without a browser; get it from {published.page} and pass its path'
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
            check=not_hdf5 if is_nnabla else _not_checkpoint,
        )
    except download.DownloadError as error:
        raise ModelError(
            f'cannot download {published.file} ({error}); get it elsewhere and put it at {target}, '
            + (
                f'or set another address with --weights-url or {MIRROR_VARIABLE}; '
                f'{BUNDLED_CONFIG_HINT}'
                if is_nnabla
                else f'or set another address with {MIRROR_VARIABLE}'
            )
        ) from error
    except download.RecordError as error:
        raise ModelError(str(error)) from error
    except UserError as error:
        raise ModelError(f'{error}; set another folder with {CACHE_VARIABLE}') from error


def _not_checkpoint(path: Path) -> str | None:
    is_one = checkpoints.is_checkpoint(path)
    return None if is_one else 'sent something that is not a checkpoint of PyTorch'
