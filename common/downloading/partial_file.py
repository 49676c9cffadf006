"""Transfer a file over HTTP into ``<target>.part``, and resume an interrupted transfer.

``<target>.part.json`` notes from which address the partial file is, which version of the file it
belongs to, and how long the whole file is. A server's answer continues it only if it agrees with
all of that; otherwise the transfer starts anew.
"""

import json
import os
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from common import files
from common.downloading import http_get
from common.downloading.http_get import Answer, AnswerError, ConnectionFailedError
from common.errors import UserError
from common.log import LOG
from common.reading import json_text
from common.reading.text_files import TextFileError
from common.terminal.progress import ProgressBar
from common.writing import own_files

ATTEMPTS_PER_URL = 4  # maximum; an attempt that transfers nothing new is the last
MAX_NOTE_BYTES = 10_000
# Of a strong ETag, or of a date in Last-Modified. A weak tag does not promise the same bytes.
VALIDATOR = re.compile(r'"[!#-~]{0,200}"|[A-Za-z0-9,: +-]{1,40}')


@dataclass(frozen=True)
class _Version:
    """The version of a file on a server, as the note records it.

    Attributes:
        url: Its address.
        tag: The ETag, or else the date of the last change; None if the server does not tell it.
        total: Length of the whole file in bytes; None if the server does not tell it.
    """

    url: str
    tag: str | None
    total: int | None


class _StartAnewError(Exception):
    """The partial file cannot be continued with the server's answer."""


def complete(
    url: str, target: Path, size: int | None, max_undeclared: float, stall_seconds: float
) -> bool:
    """Complete the partial file from ``url``; retry while each attempt transfers new bytes.

    Args:
        url: Address of the file.
        target: Path of the file that will be made of the partial one.
        size: Expected length in bytes, if known.
        max_undeclared: Largest length in bytes of a file whose length nobody tells.
        stall_seconds: As in :func:`common.downloading.http_get.get`.

    Returns:
        Whether the whole file has certainly come: a server that tells no length may have been cut
        off.

    Raises:
        AnswerError: The address does not deliver the file.
        UserError: The disk is too small.
        OSError: The partial file cannot be written.
    """
    LOG.info('downloading %s', http_get.shown(url))
    part = part_of(target)
    for attempt in range(ATTEMPTS_PER_URL):
        before = length_of(part)
        try:
            return _transfer(url, target, size, max_undeclared, stall_seconds)
        except _StartAnewError:
            part.unlink(missing_ok=True)
        except http_get.ExcessError:
            part.unlink(missing_ok=True)
            raise
        except ConnectionFailedError as error:
            if length_of(part) <= before or attempt == ATTEMPTS_PER_URL - 1:
                raise AnswerError(str(error)) from error
    raise AnswerError('kept changing during the download')


def part_of(target: Path) -> Path:
    """Return the path of the partial file."""
    return beside(target, '.part')


def note_of(target: Path) -> Path:
    """Return the path of the note on the version of the partial file."""
    return beside(target, '.part.json')


def beside(target: Path, suffix: str) -> Path:
    """Return the path of a file that belongs to another one."""
    return target.with_name(target.name + suffix)


def length_of(path: Path) -> int:
    """Return the length of a file in bytes, 0 if it is missing."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _transfer(
    url: str, target: Path, size: int | None, max_undeclared: float, stall_seconds: float
) -> bool:
    """Send one request and append the answer to the partial file, as :func:`complete` says."""
    part = part_of(target)
    have, version = length_of(part), _noted(target, url)
    headers = {'User-Agent': 'nnseg', 'Accept-Encoding': 'identity'}
    resumes = have > 0 and version.tag is not None
    if resumes:
        headers |= {'Range': f'bytes={have}-', 'If-Range': version.tag or ''}
    with http_get.get(url, headers, stall_seconds) as answer:
        if resumes and answer.status == 416:  # the partial file ends at or beyond the file's end
            if _total_of_416(answer, version, size) == have:
                return True  # an earlier call was interrupted before the verification
            raise _StartAnewError
        total: int | None
        if resumes and answer.status == 206:
            start, total = have, _total_of_206(answer, version, size, have)
        elif answer.status == 200:
            start, total = 0, _total_of_200(answer, size)
        else:
            raise AnswerError(str(answer))
        most = _room_for(target, start, total, max_undeclared)
        if not start:
            part.unlink(missing_ok=True)  # before the tag is noted: no old part may get a new tag
            _note(target, _Version(http_get.without_login(url), _tag_of(answer), total))
        with _appended(part) as file, _progress(target, start, total) as bar:
            for block in answer.blocks(most):
                file.write(block)
                bar.update(len(block))
        is_chunked = answer.is_chunked
    if total is not None and length_of(part) < total:
        raise ConnectionFailedError(
            f'failed: closed the connection after {length_of(part)} of {total} bytes'
        )
    return total is not None or is_chunked


def _total_of_200(answer: Answer, size: int | None) -> int | None:
    """Return the length of the whole file, if known."""
    declared = answer.length()
    if None not in (declared, size) and declared != size:
        raise AnswerError(f'offers {declared} bytes instead of {size}')
    return size if declared is None else declared


def _total_of_206(answer: Answer, version: _Version, size: int | None, have: int) -> int:
    """Return the length of the whole file if the answer continues the partial file.

    Raises:
        _StartAnewError: It is another part, or one of another version.
    """
    found = re.fullmatch(
        r'bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})', answer.header('Content-Range') or ''
    )
    if not found or _tag_of(answer) != version.tag:
        raise _StartAnewError
    start, end, total = map(int, found.groups())
    declared = answer.length()
    if (
        (start, end) != (have, total - 1)
        or declared not in (None, total - have)
        or version.total not in (None, total)
        or size not in (None, total)
    ):
        raise _StartAnewError
    return total


def _total_of_416(answer: Answer, version: _Version, size: int | None) -> int | None:
    """Return the file's length from a 416 answer (``bytes */1234``), else what is known of it.

    Raises:
        _StartAnewError: The file is not as long as it was.
    """
    found = re.fullmatch(r'bytes \*/([0-9]{1,18})', answer.header('Content-Range') or '')
    known = {int(found[1])} if found else set()
    known |= {total for total in (version.total, size) if total is not None}
    if len(known) > 1:
        raise _StartAnewError
    return known.pop() if known else None


def _tag_of(answer: Answer) -> str | None:
    """Return what identifies the version of the file; None if that cannot be known."""
    tag = answer.header('ETag') or answer.header('Last-Modified')
    return tag if tag and VALIDATOR.fullmatch(tag) else None


def _room_for(target: Path, start: int, total: int | None, max_undeclared: float) -> int:
    """Return how many bytes may come; raise ``UserError`` if the disk is too small."""
    free = shutil.disk_usage(target.parent).free
    if total is None:
        return int(min(max_undeclared, free))
    if total - start > free:
        raise UserError(
            f'{target}: needs {(total - start) / 1e6:.1f} MB, {free / 1e6:.1f} MB are free'
        )
    return total - start


def _appended(part: Path) -> BinaryIO:
    """Open the partial file, and create it if it is missing."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.fdopen(own_files.open_descriptor(part, flags), 'ab')


def _progress(target: Path, start: int, total: int | None) -> ProgressBar:
    """Return a progress bar, which terminals show."""
    return ProgressBar(
        desc=target.name,
        total=total,
        initial=start,
        unit='B',
        unit_scale=True,
        leave=False,
        disable=None,
    )


def _note(target: Path, version: _Version) -> None:
    with files.replacing(note_of(target)) as temporary:
        temporary.write_text(json.dumps(asdict(version)), encoding='utf-8')


def _noted(target: Path, url: str) -> _Version:
    """Return the version of the partial file; with no tag, if the note is missing or damaged."""
    unknown = _Version(http_get.without_login(url), None, None)
    path = note_of(target)
    try:
        note = json_text.parse(own_files.read(path, MAX_NOTE_BYTES), path, dict)
    except (FileNotFoundError, TextFileError):
        return unknown  # without a readable note the download restarts
    noted = _Version(note.get('url', ''), note.get('tag'), note.get('total'))
    has_tag = isinstance(noted.tag, str) and VALIDATOR.fullmatch(noted.tag)
    has_total = noted.total is None or json_text.is_count(noted.total)
    return noted if noted.url == unknown.url and has_tag and has_total else unknown
