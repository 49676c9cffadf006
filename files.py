"""Files that are whole at any moment: written beside their target, downloaded resumably, verified.

A download goes to ``<target>.part`` and is renamed when it is complete and verified. A later call
resumes the part, if the server still has the same version of the file.
"""

import fcntl
import hashlib
import http.client
import json
import os
import ssl
import stat
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tqdm import tqdm

from command import UserError

CHUNK = 1 << 18  # bytes
STALL_SECONDS = 30.0  # without a byte, a connection counts as dead
ATTEMPTS = 4  # for one address, as long as each brings something new


def kind_of(path: Path) -> str | None:
    """``'file'``, ``'folder'``, or None for what is not there or neither (a device, a pipe).

    ``Path.is_file`` and its like raise where a name is too long or a folder is closed to the user;
    this raises ``UserError``.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:  # ValueError: a null character
        reason = getattr(error, 'strerror', None) or error
        raise UserError(f'{path}: cannot be read ({reason})') from error
    return 'file' if stat.S_ISREG(mode) else 'folder' if stat.S_ISDIR(mode) else None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``, which takes its place when the block ends well.

    Raises ``UserError`` when the file cannot be written; what was there before stays then.
    """
    temporary = path.with_name(f'.{path.stem}.{os.getpid()}{path.suffix}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f'{path}: cannot be written ({error.strerror or error})') from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def check_writable(path: Path):
    """Raise ``UserError`` now, not after an hour's work, when ``path`` cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UserError(f'{path}: cannot be written ({error.strerror})') from error


class DownloadError(Exception):
    """No address gave the file; the message has one clause an address."""


class _Unusable(Exception):
    """This address will not give the file, however often it is asked."""


def fetch(
    urls: Sequence[str],
    target: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    check: Callable[[Path], str | None] = lambda path: None,
    stall_seconds: float = STALL_SECONDS,
) -> Path:
    """Download ``target`` from the first of ``urls`` that gives it, and verify it.

    size (bytes) and sha256 are compared where known; ``check`` looks at the complete file and
    returns what is wrong with it, or None. Without a known sha256 the digest is written to
    ``<target>.sha256``, for :func:`recorded_digest`. A second process that wants the same file
    waits for the first. Raises ``DownloadError``, ``OSError`` when the file cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _only_one_process(target):
        if target.exists():
            return target
        problems = []
        for url in urls:
            try:
                _download(url, target, size, stall_seconds)
                _verify(_part(target), size, sha256, check)
                _record_digest(target, sha256)
                os.replace(_part(target), target)
                _version(target).unlink(missing_ok=True)
                return target
            except _Unusable as problem:
                problems.append(f'{url} {problem}')
        raise DownloadError('; '.join(problems))


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def recorded_digest(target: Path) -> str | None:
    """The digest that the first download of ``target`` left beside it."""
    record = _beside(target, '.sha256')
    return record.read_text().split()[0] if record.exists() else None


def _download(url: str, target: Path, size: int | None, stall_seconds: float):
    """Complete the part of ``target`` from ``url``, asking again as long as every attempt brings
    new bytes.
    """
    for attempt in range(ATTEMPTS):
        before = _length(_part(target))
        try:
            return _transfer(url, target, size, stall_seconds)
        except urllib.error.HTTPError as error:
            if error.code == 416 and before:  # the part is longer than the file: another version
                _part(target).unlink()
                continue
            raise _Unusable(f'answers {error.code} {error.reason}') from error
        except ValueError as error:  # not a URL that urllib understands
            raise _Unusable(f'is no address: {error}') from error
        except (
            urllib.error.URLError,
            http.client.HTTPException,
            TimeoutError,
            ConnectionError,
            ssl.SSLError,
        ) as error:
            if _length(_part(target)) <= before or attempt == ATTEMPTS - 1:
                reason = getattr(error, 'reason', None) or error
                stalled = isinstance(reason, TimeoutError)
                raise _Unusable(
                    f'sent nothing for {stall_seconds:g} s' if stalled else f'failed: {reason}'
                ) from error
    raise _Unusable('kept changing while it was read')


def _transfer(url: str, target: Path, size: int | None, stall_seconds: float):
    """One request: append to the part, from its end where the server has the same version and can
    resume.
    """
    part, version = _part(target), _version(target)
    have = _length(part)
    request = urllib.request.Request(
        url, headers={'User-Agent': 'nnseg', 'Accept-Encoding': 'identity'}
    )
    known = json.loads(version.read_text()) if have and version.exists() else {}
    if known.get('url') == url and known['tag']:
        request.add_header('Range', f'bytes={have}-')
        request.add_header('If-Range', known['tag'])
    with urllib.request.urlopen(request, timeout=stall_seconds) as answer:
        start = have if answer.status == 206 else 0
        if not start:
            part.unlink(missing_ok=True)  # first, so that an old part never meets a new tag
            tag = answer.headers.get('ETag') or answer.headers.get('Last-Modified')
            weak = tag is not None and tag.startswith('W/')
            version.write_text(json.dumps({'url': url, 'tag': None if weak else tag}))
        remaining = answer.headers.get('Content-Length')
        total = start + int(remaining) if remaining is not None else size
        with (
            open(part, 'ab') as file,
            tqdm(
                desc=target.name,
                total=total,
                initial=start,
                unit='B',
                unit_scale=True,
                leave=False,
                disable=None,  # shown on a terminal only
            ) as bar,
        ):
            while chunk := answer.read1(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and _length(part) < total:
        raise ConnectionError(f'closed the connection after {_length(part)} of {total} bytes')


def _verify(part: Path, size: int | None, sha256: str | None, check):
    """Discard a complete part that is not the file that was asked for."""
    problem = None
    if size is not None and part.stat().st_size != size:
        problem = f'sent {part.stat().st_size} bytes instead of {size}'
    elif sha256 is not None and (found := sha256_of(part)) != sha256:
        problem = f'sent a file with SHA-256 {found} instead of {sha256}'
    else:
        problem = check(part)
    if problem:
        part.unlink()
        raise _Unusable(problem)


def _record_digest(target: Path, sha256: str | None):
    record = _beside(target, '.sha256')
    record.write_text(f'{sha256 or sha256_of(_part(target))}  {target.name}\n')


@contextmanager
def _only_one_process(target: Path):
    with open(_beside(target, '.lock'), 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(target.name + suffix)


def _part(target: Path) -> Path:
    return _beside(target, '.part')


def _version(target: Path) -> Path:
    return _beside(target, '.part.json')


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
