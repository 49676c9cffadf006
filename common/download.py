"""Download files: resume interrupted transfers, verify digests, detect later changes.

A download is written to ``<target>.part`` and renamed once it is complete and verified. A later
call resumes the partial file if the server still has the version noted in ``<target>.part.json``.
The SHA-256 of the first download is recorded in ``<target>.sha256``. A repeated download must match
it, and :func:`digest_mismatch` compares the present file with it. A record without a digest is an
error, because ignoring it would disable the check.
"""

import http.client
import json
import os
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from common import files, lock_files
from common.errors import UserError
from common.log import LOG
from common.progress import ProgressBar

Verify: TypeAlias = Callable[[Path], str | None]  # returns the fault of a complete file, or None

CHUNK_BYTES = 1 << 18
STALL_SECONDS = 30.0  # a connection without data for this long counts as dead
ATTEMPTS_PER_URL = 4  # maximum; an attempt that transfers nothing new is the last


class DownloadError(Exception):
    """No address delivered the file; the message has one clause for each address."""


class RecordError(UserError):
    """A recorded digest cannot be read."""


class _UrlFailed(Exception):
    """An address does not deliver the file, and retrying is pointless."""


def fetch(
    urls: Sequence[str],
    target: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    check: Verify = lambda path: None,
    stall_seconds: float = STALL_SECONDS,
) -> Path:
    """Download ``target`` from the first of ``urls`` that delivers it, and verify it.

    An existing ``target`` is returned unchanged. A second process that requests the same file waits
    for the first. Without ``sha256``, the digest must match the one recorded in
    ``<target>.sha256``, if there is one. The digest of the new file is recorded there.

    Args:
        urls: Addresses of the same file, in order of preference.
        target: Path of the file.
        size: Expected length in bytes, if known.
        sha256: Expected digest in hexadecimal digits, if known.
        check: Inspects the complete file and returns its fault, or None.
        stall_seconds: Timeout in seconds for a connection without data.

    Returns:
        ``target``.

    Raises:
        DownloadError: No address delivered a valid file.
        RecordError: The recorded digest cannot be read.
        UserError: The file cannot be written.
    """
    if files.kind_of(target) == 'file':
        return target
    if target.is_symlink():
        raise UserError(
            f'{target}: cannot be written (it is a link to something that is no file); remove the '
            'link, or restore the file'
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with lock_files.waiting(_beside(target, '.lock')):
            if files.kind_of(target) != 'file':
                _from_first(urls, target, size, sha256, check, stall_seconds)
    except OSError as error:
        raise UserError(f'{target}: cannot be written ({error.strerror or error})') from error
    return target


def digest_mismatch(target: Path) -> str | None:
    """Compare a file with the digest of its first download.

    Returns:
        A message with the mismatch and its remedy; None if the digests agree or none is recorded.

    Raises:
        RecordError: The recorded digest cannot be read.
        OSError: The file cannot be read.
    """
    recorded = _recorded_digest(target)
    if recorded is None or files.sha256_of(target) == recorded:
        return None
    return (
        f'{target} has changed since it was downloaded (its SHA-256 is not {recorded}); delete it '
        f'to download it again, or, if the change is intended, delete {_record(target)}'
    )


def _from_first(
    urls: Sequence[str],
    target: Path,
    size: int | None,
    sha256: str | None,
    check: Verify,
    stall_seconds: float,
) -> None:
    """Download, verify and rename the file of the first address that delivers it."""
    recorded = None if sha256 else _recorded_digest(target)
    problems = []
    for url in urls:
        try:
            _download(url, target, size, stall_seconds)
            digest = _verify(target, size, sha256, check, recorded)
        except _UrlFailed as problem:
            problems.append(f'{url} {problem}')
            continue
        _write(_record(target), f'{digest}  {target.name}\n')
        os.replace(_part(target), target)
        _version(target).unlink(missing_ok=True)
        return
    raise DownloadError('; '.join(problems))


def _download(url: str, target: Path, size: int | None, stall_seconds: float) -> None:
    """Complete the partial file from ``url``; retry while each attempt transfers new bytes."""
    LOG.info('downloading %s', url)
    for attempt in range(ATTEMPTS_PER_URL):
        before = _length(_part(target))
        try:
            _transfer(url, target, size, stall_seconds)
            return
        except urllib.error.HTTPError as error:
            if error.code == 416 and before:  # the partial file ends at or beyond the file's end
                if before == _whole_length(error, size):
                    return  # complete: an earlier call was interrupted before the verification
                _part(target).unlink()  # too long: a part of another version
                continue
            raise _UrlFailed(f'answers {error.code} {error.reason}') from error
        except ValueError as error:  # urllib cannot parse the URL
            raise _UrlFailed(f'is not a valid address: {error}') from error
        except (
            urllib.error.URLError,
            http.client.HTTPException,
            TimeoutError,
            ConnectionError,
            ssl.SSLError,
        ) as error:
            if _length(_part(target)) <= before or attempt == ATTEMPTS_PER_URL - 1:
                reason = getattr(error, 'reason', None) or error
                stalled = isinstance(reason, TimeoutError)
                raise _UrlFailed(
                    f'sent nothing for {stall_seconds:g} s' if stalled else f'failed: {reason}'
                ) from error
    raise _UrlFailed('kept changing during the download')


def _whole_length(error: urllib.error.HTTPError, size: int | None) -> int | None:
    """Return the file's length from a 416 answer (``bytes */1234``), else ``size``."""
    given = re.fullmatch(r'bytes \*/(\d+)', error.headers.get('Content-Range', ''))
    return int(given[1]) if given else size


def _transfer(url: str, target: Path, size: int | None, stall_seconds: float) -> None:
    """Send one request and append the answer to the partial file.

    The transfer starts at the end of the partial file if the server has the same version and
    supports ranges, else at 0.
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
            part.unlink(missing_ok=True)  # before the tag is noted: no old part may get a new tag
            tag = answer.headers.get('ETag') or answer.headers.get('Last-Modified')
            weak = tag is not None and tag.startswith('W/')
            _write(_version(target), json.dumps({'url': url, 'tag': None if weak else tag}))
        remaining = answer.headers.get('Content-Length')
        total = start + int(remaining) if remaining is not None else size
        with (
            open(part, 'ab') as file,
            ProgressBar(
                desc=target.name,
                total=total,
                initial=start,
                unit='B',
                unit_scale=True,
                leave=False,
                disable=None,  # shows the bar on terminals only
            ) as bar,
        ):
            while chunk := answer.read1(CHUNK_BYTES):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and _length(part) < total:
        raise ConnectionError(f'closed the connection after {_length(part)} of {total} bytes')


def _tag_of_part(target: Path, url: str) -> str | None:
    """Return the server's tag for the version of the partial file.

    None if the tag is unknown or the partial file is from another address.
    """
    try:
        note = json.loads(_version(target).read_bytes())
        tag = note['tag'] if note['url'] == url else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None  # without a readable note the download restarts
    return tag if isinstance(tag, str) and tag.isascii() and tag.isprintable() else None


def _verify(
    target: Path, size: int | None, sha256: str | None, check: Verify, recorded: str | None
) -> str:
    """Return the digest of the downloaded file; delete an invalid file and raise ``_UrlFailed``."""
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
            f'sent a file with SHA-256 {found}, but the first download had {recorded}; if the '
            f'change is expected, delete {_record(target)}'
        )
    if problem:
        part.unlink()
        raise _UrlFailed(problem)
    return found


def _recorded_digest(target: Path) -> str | None:
    """Return the digest recorded at the first download of ``target``, if any.

    Raises:
        RecordError: The record is damaged or cannot be read.
    """
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
        temporary.write_text(text, encoding='utf-8')


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
