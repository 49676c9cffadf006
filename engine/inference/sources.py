"""Inputs that are no files: cameras, streams of a network, and an image from standard input."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from common.downloading.http_get import without_login
from common.errors import UserError
from common.files import kind_of
from common.inputs import Input

STANDARD_INPUT = '-'
SCHEMES = ('rtsp', 'http', 'https')


@dataclass(frozen=True)
class StandardInput(Input):
    """An image that another program writes to standard input."""

    @property
    def is_video(self) -> bool:
        """False."""
        return False

    @property
    def is_file(self) -> bool:
        """False."""
        return False

    @property
    def name(self) -> str:
        """What messages call it."""
        return 'standard input'


@dataclass(frozen=True)
class Stream(Input):
    """A camera or a stream of a network; its path is a name for files, and not opened.

    Attributes:
        source: Number of the camera, or address of the stream.
    """

    source: int | str

    @property
    def is_video(self) -> bool:
        """True."""
        return True

    @property
    def is_file(self) -> bool:
        """False."""
        return False

    @property
    def name(self) -> str:
        """What messages call the stream; an address without its name and password."""
        is_camera = isinstance(self.source, int)
        return f'camera {self.source}' if is_camera else without_login(str(self.source))

    @property
    def is_http(self) -> bool:
        """Whether the stream has an address of HTTP."""
        return str(self.source).lower().startswith('http')


def only_source(patterns: Sequence[str]) -> Input | None:
    """Return the camera, stream or standard input that the user names; None for files.

    A file or folder whose name is a number is not taken for a camera.

    Raises:
        UserError: It is not the only input, or an address names no host.
    """
    found = [source for source in map(_source_of, patterns) if source is not None]
    if not found:
        return None
    if len(patterns) > 1:
        raise UserError(
            f'-i {found[0].name}: is segmented alone; start infer.py once for it and once for the '
            'other inputs'
        )
    return found[0]


def _source_of(pattern: str) -> Input | None:
    if pattern == STANDARD_INPUT:
        return StandardInput(Path('stdin'), Path('stdin'))
    if re.fullmatch('[0-9]{1,4}', pattern) and kind_of(Path(pattern)) is None:
        path = Path(f'camera_{pattern}')
        return Stream(path, path, int(pattern))
    if not re.match(rf'({"|".join(SCHEMES)})://', pattern, re.IGNORECASE):
        return None
    try:
        parts = urlsplit(pattern)
        host = parts.hostname
    except ValueError:  # such as brackets without an end
        host = None
    if not host or re.search(r'[\s\0]', pattern):
        raise UserError(f'-i {without_login(pattern)}: is no address; write rtsp://HOST/PATH')
    # Without dots: the last number of an IP address is not the ending of a file's name.
    path = Path(re.sub(r'[^\w-]+', '_', f'{host}{parts.path}').strip('_') or 'stream')
    return Stream(path, path, pattern)
