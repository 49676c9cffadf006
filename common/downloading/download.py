"""Download files: resume interrupted transfers, verify digests, detect later changes.

A download is written to ``<target>.part`` (:mod:`common.downloading.partial_file`) and renamed once
it is complete and verified. The SHA-256 of the first download is recorded in ``<target>.sha256``,
if the file has certainly come whole. A repeated download must match it, and :func:`digest_mismatch`
compares the present file with it. A record without a digest is an error, because ignoring it would
disable the check.
"""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

from common import files
from common.downloading import partial_file
from common.downloading.http_get import AnswerError, shown
from common.downloading.partial_file import beside, note_of, part_of
from common.errors import UserError
from common.log import LOG
from common.writing import lock_files, own_files

Verify: TypeAlias = Callable[[Path], str | None]  # returns the fault of a complete file, or None

STALL_SECONDS = 30.0  # a connection without data for this long counts as dead
MAX_UNDECLARED_BYTES = 4e9  # of a file whose length neither the server nor the caller tells
MAX_RECORD_BYTES = 1000
RECORD = re.compile(rb'(?P<digest>[0-9a-fA-F]{64})(\s+\*?(?P<name>\S.*?))?\s*', re.DOTALL)


class DownloadError(Exception):
    """No address delivered the file; the message has one clause for each address."""


class RecordError(UserError):
    """A recorded digest cannot be read."""


def fetch(
    urls: Sequence[str],
    target: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    check: Verify = lambda path: None,
    max_undeclared: float = MAX_UNDECLARED_BYTES,
    stall_seconds: float = STALL_SECONDS,
) -> Path:
    """Download ``target`` from the first of ``urls`` that delivers it, and verify it.

    An existing ``target`` is returned unchanged. A second process that requests the same file waits
    for the first. Without ``sha256``, the digest must match the one recorded in
    ``<target>.sha256``, if there is one. The digest of the new file is recorded there, except where
    the server tells no length, so that the file may be cut off.

    Args:
        urls: Addresses of the same file, in order of preference.
        target: Path of the file.
        size: Expected length in bytes, if known.
        sha256: Expected digest in hexadecimal digits, if known.
        check: Inspects the complete file and returns its fault, or None.
        max_undeclared: Largest length in bytes of a file whose length nobody tells.
        stall_seconds: Timeout in seconds for a connection without data, and the time over which its
            speed is measured; a server that is too slow is given up.

    Returns:
        ``target``.

    Raises:
        DownloadError: No address delivered a valid file.
        RecordError: The recorded digest cannot be read.
        UserError: The file cannot be written.
    """
    if files.kind_of(target) == 'file':
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with lock_files.waiting(beside(target, '.lock')):
            if files.kind_of(target) != 'file':
                for path in (target, part_of(target), note_of(target), record_of(target)):
                    own_files.refuse_odd(path)
                _from_first(urls, target, size, sha256, check, max_undeclared, stall_seconds)
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
        f'to download it again, or, if the change is intended, delete {record_of(target)}'
    )


def _from_first(
    urls: Sequence[str],
    target: Path,
    size: int | None,
    sha256: str | None,
    check: Verify,
    max_undeclared: float,
    stall_seconds: float,
) -> None:
    """Download, verify and rename the file of the first address that delivers it."""
    recorded = None if sha256 else _recorded_digest(target)
    problems = []
    for url in urls:
        try:
            is_whole = partial_file.complete(url, target, size, max_undeclared, stall_seconds)
            digest = _verify(target, size, sha256, check, recorded)
        except AnswerError as problem:
            problems.append(f'{shown(url)} {problem}')
            continue
        if is_whole or sha256:
            with files.replacing(record_of(target)) as temporary:
                temporary.write_text(f'{digest}  {target.name}\n', encoding='utf-8')
        elif not recorded:
            LOG.warning(
                '%s: its SHA-256 is not recorded: %s tells no length, so the file may be cut off',
                target,
                shown(url),
            )
        os.replace(part_of(target), target)
        note_of(target).unlink(missing_ok=True)
        return
    raise DownloadError('; '.join(problems))


def _verify(
    target: Path, size: int | None, sha256: str | None, check: Verify, recorded: str | None
) -> str:
    """Return the digest of the downloaded file; delete an invalid file.

    Raises:
        AnswerError: The file is invalid.
    """
    part = part_of(target)
    found = files.sha256_of(part)
    if size is not None and partial_file.length_of(part) != size:
        problem = f'sent {partial_file.length_of(part)} bytes instead of {size}'
    elif sha256 is not None and found != sha256:
        problem = f'sent a file with SHA-256 {found} instead of {sha256}'
    else:
        problem = check(part) or ''
    if not problem and recorded not in (None, found):
        problem = (
            f'sent a file with SHA-256 {found}, but the first download had {recorded}; if the '
            f'change is expected, delete {record_of(target)}'
        )
    if problem:
        part.unlink()
        raise AnswerError(problem)
    return found


def _recorded_digest(target: Path) -> str | None:
    """Return the digest recorded at the first download of ``target``, if any.

    Raises:
        RecordError: The record is damaged, belongs to another file or cannot be read.
    """
    record = record_of(target)
    try:
        found = RECORD.fullmatch(own_files.read(record, MAX_RECORD_BYTES))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RecordError(f'{record}: cannot be read ({error.strerror}); delete it') from error
    except UserError as error:
        raise RecordError(str(error)) from error
    if not found:
        raise RecordError(f'{record}: damaged, it holds no SHA-256; delete it')
    name = os.fsdecode(found['name'] or b'')
    if name not in ('', target.name):
        raise RecordError(f'{record}: holds the SHA-256 of {name!r}; delete it')
    return found['digest'].decode().lower()


def record_of(target: Path) -> Path:
    """Return the path of the recorded digest of a downloaded file."""
    return beside(target, '.sha256')
