"""What the readers of zip and tar archives have in common."""

from dataclasses import dataclass
from typing import Any

BLOCK_BYTES = 1 << 20  # of content, read at once
LINK_OR_DEVICE = 'is a link or a device'
# What an archive may unpack to, whatever its size, and in relation to its size. Archives of images
# unpack to about their own size, of text to ten times as much.
SMALL_BYTES, MAX_RATIO = 256_000_000, 200
SMALL_COUNT, MIN_BYTES_PER_MEMBER = 10_000, 20


class HarmfulError(Exception):
    """An archive would do harm, or is of a kind that is not unpacked; the message says why."""


class DamagedError(Exception):
    """An archive is damaged; the message says where."""


@dataclass(frozen=True)
class Member:
    """A file or folder in an archive.

    Attributes:
        name: Its name as the archive has it, which can be anything.
        size: Length of its content in bytes, as the archive declares it.
        is_folder: Whether it is a folder.
        problem: Why it must not be unpacked, to follow its name; None if nothing speaks against it.
        source: What its reader needs to find its content.
    """

    __slots__ = ('is_folder', 'name', 'problem', 'size', 'source')
    name: str
    size: int
    is_folder: bool
    problem: str | None
    source: Any


def refuse_bomb(archive_bytes: int, unpacked_bytes: int, members: int = 0) -> None:
    """Raise ``HarmfulError`` if an archive unpacks to far more than its own size.

    Args:
        archive_bytes: Size of the archive.
        unpacked_bytes: Size of what it unpacks to.
        members: Number of its files and folders.
    """
    if unpacked_bytes > max(SMALL_BYTES, MAX_RATIO * archive_bytes):
        raise HarmfulError(f'it unpacks to more than {MAX_RATIO} times its {archive_bytes} bytes')
    if members > max(SMALL_COUNT, archive_bytes // MIN_BYTES_PER_MEMBER):
        raise HarmfulError(f'it has {members} or more files in {archive_bytes} bytes')
