"""Downloads: resumed where they ended, verified, and recognised when they change.

A download goes to ``<target>.part`` and is renamed when it is complete and verified; a later call
resumes the part, if the server still has the version that ``<target>.part.json`` notes. The digest
of the first download stays in ``<target>.sha256``: what is downloaded again has to have it, and
:func:`changed` compares the file itself. A record that holds no digest is an error, since to pass
over it would be to check nothing.
"""

import fcntl
import http.client
import json
import os
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from tqdm import tqdm

from common import files
from common.errors import UserError

Check: TypeAlias = Callable[[Path], str | None]  # returns what is wrong with a complete file

CHUNK = 1 << 18  # bytes
STALL_SECONDS = 30.0  # without a byte, a connection counts as dead
ATTEMPTS = 4  # for one address, as long as each brings something new


class DownloadError(Exception):
    """No address gave the file; the message has one clause an address."""


class RecordError(UserError):
    """The record of a digest cannot be read."""


class _Unusable(Exception):
    """This address will not give the file, however often it is asked."""


def fetch(
    urls: Sequence[str],
    target: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    check: Check = lambda path: None,
    stall_seconds: float = STALL_SECONDS,
) -> Path:
    """Download ``target`` from the first of ``urls`` that gives it, and verify it; nothing is
    written when it is there.

    size (bytes) and sha256 are compared where known; ``check`` looks at the complete file and
    returns what is wrong with it, or None. Without a known sha256 the digest has to be the one in
    ``<target>.sha256``, if there is one; it is written there. A second process that wants the same
    file waits for the first. Raises ``DownloadError``; ``RecordError``; ``UserError`` when the file
    cannot be written.
    """
    if files.kind_of(target) == 'file':
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _only_one_process(target):
            if files.kind_of(target) != 'file':
                _from_first(urls, target, size, sha256, check, stall_seconds)
    except OSError as error:
        raise UserError(f'{target}: cannot be written ({error.strerror or error})') from error
    return target


def changed(target: Path) -> str | None:
    """What shows that a file is not the one that was first downloaded, and what to do about it;
    None if it is, or if nothing is recorded. Raises ``RecordError``, ``OSError``.
    """
    recorded = _recorded_digest(target)
    if recorded is None or files.sha256_of(target) == recorded:
        return None
    return (
        f'{target} has changed since it was downloaded (its SHA-256 is not {recorded}); delete it '
        f'to download it again, or, if it is meant to be another, delete {_record(target)}'
    )


def _from_first(
    urls: Sequence[str],
    target: Path,
    size: int | None,
    sha256: str | None,
    check: Check,
    stall_seconds: float,
) -> None:
    recorded = None if sha256 else _recorded_digest(target)
    problems = []
    for url in urls:
        try:
            _download(url, target, size, stall_seconds)
            digest = _verify(target, size, sha256, check, recorded)
        except _Unusable as problem:
            problems.append(f'{url} {problem}')
            continue
        _write(_record(target), f'{digest}  {target.name}\n')
        os.replace(_part(target), target)
        _version(target).unlink(missing_ok=True)
        return
    raise DownloadError('; '.join(problems))


def _download(url: str, target: Path, size: int | None, stall_seconds: float) -> None:
    """Complete the part of ``target`` from ``url``, asking again as long as every attempt brings
    new bytes.
    """
    for attempt in range(ATTEMPTS):
        before = _length(_part(target))
        try:
            _transfer(url, target, size, stall_seconds)
            return
        except urllib.error.HTTPError as error:
            if error.code == 416 and before:  # nothing comes after the part
                if before == _whole_length(error, size):
                    return  # complete: an earlier call ended before it was verified
                _part(target).unlink()  # too long: of another version
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


def _whole_length(error: urllib.error.HTTPError, size: int | None) -> int | None:
    """The length of a file by the answer 416, which should give it as ``bytes */1234``."""
    given = re.fullmatch(r'bytes \*/(\d+)', error.headers.get('Content-Range', ''))
    return int(given[1]) if given else size


def _transfer(url: str, target: Path, size: int | None, stall_seconds: float) -> None:
    """One request: append to the part, from its end where the server has the same version and can
    resume.
    """
    part = _part(target)
    have = _length(part)
    request = urllib.request.Request(
        url, headers={'User-Agent': 'nnseg', 'Accept-Encoding': 'identity'}
    )
    tag = _tag_of_part(target, url)
    if have and tag:
        request.add_header('Range', f'bytes={have}-')
        request.add_header('If-Range', tag)
    with urllib.request.urlopen(request, timeout=stall_seconds) as answer:
        start = have if answer.status == 206 else 0
        if not start:
            part.unlink(missing_ok=True)  # first, so that an old part never meets a new tag
            tag = answer.headers.get('ETag') or answer.headers.get('Last-Modified')
            weak = tag is not None and tag.startswith('W/')
            _write(_version(target), json.dumps({'url': url, 'tag': None if weak else tag}))
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


def _tag_of_part(target: Path, url: str) -> str | None:
    """The server's name for the version that the part is of; None when it is not known, or the part
    is from elsewhere.
    """
    try:
        note = json.loads(_version(target).read_bytes())
        tag = note['tag'] if note['url'] == url else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None  # without a note that can be read, the download starts again
    return tag if isinstance(tag, str) and tag.isascii() and tag.isprintable() else None


def _verify(
    target: Path, size: int | None, sha256: str | None, check: Check, recorded: str | None
) -> str:
    """The digest of a complete part, which is discarded when it is not the file that was asked
    for.
    """
    part = _part(target)
    found = files.sha256_of(part)
    if size is not None and _length(part) != size:
        problem = f'sent {_length(part)} bytes instead of {size}'
    elif sha256 is not None and found != sha256:
        problem = f'sent a file with SHA-256 {found} instead of {sha256}'
    else:
        problem = check(part) or ''
    if not problem and recorded not in (None, found):
        problem = (
            f'sent a file with SHA-256 {found}, where the first download had {recorded}; if the '
            f'change is expected, delete {_record(target)}'
        )
    if problem:
        part.unlink()
        raise _Unusable(problem)
    return found


def _recorded_digest(target: Path) -> str | None:
    """The digest that the first download of ``target`` left beside it; raises ``RecordError``."""
    record = _record(target)
    try:
        found = re.match(rb'[0-9a-fA-F]{64}(?=\s|$)', record.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RecordError(f'{record}: cannot be read ({error.strerror})') from error
    if not found:
        raise RecordError(f'{record}: damaged, it holds no SHA-256; delete it')
    return found[0].decode().lower()


def _write(path: Path, text: str) -> None:
    with files.replacing(path) as temporary:
        temporary.write_text(text)


@contextmanager
def _only_one_process(target: Path) -> Iterator[None]:
    with open(_beside(target, '.lock'), 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(target.name + suffix)


def _record(target: Path) -> Path:
    return _beside(target, '.sha256')


def _part(target: Path) -> Path:
    return _beside(target, '.part')


def _version(target: Path) -> Path:
    return _beside(target, '.part.json')


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
