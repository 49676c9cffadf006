"""The formats of images that are decoded, found by the content of a file.

The libraries know dozens of formats more, one of which starts another program to be decoded. Here
the first bytes of a file decide, whatever its name ends in, before a library sees it.
"""

from pathlib import Path

from common.errors import InputError

JPEG, PNG, BMP, TIFF = 'JPEG', 'PNG', 'BMP', 'TIFF'
WEBP, PNM, GIF, AVIF, JPEG_2000 = 'WEBP', 'PPM', 'GIF', 'AVIF', 'JPEG2000'
NAMES = {  # Pillow's name of each format, and its usual one
    JPEG: 'JPEG',
    PNG: 'PNG',
    BMP: 'BMP',
    TIFF: 'TIFF',
    WEBP: 'WebP',
    PNM: 'PNM',
    GIF: 'GIF',
    AVIF: 'AVIF',
    JPEG_2000: 'JPEG 2000',
}
HEAD_BYTES = 4096  # show the format
_SIGNATURES = {
    b'\xff\xd8\xff': JPEG,
    b'\x89PNG\r\n\x1a\n': PNG,
    b'BM': BMP,
    b'II*\0': TIFF,
    b'MM\0*': TIFF,
    b'II+\0': TIFF,  # BigTIFF, with wider offsets
    b'MM\0+': TIFF,
    b'GIF87a': GIF,
    b'GIF89a': GIF,
    b'\0\0\0\x0cjP  \r\n\x87\n': JPEG_2000,
    b'\xff\x4f\xff\x51': JPEG_2000,  # pixels without the boxes of a file
}
_AVIF_BRANDS = (b'avif', b'avis')


class UnknownFormatError(InputError):
    """A file is not an image, or of a format that is not read."""


def format_of(head: bytes) -> str | None:
    """Return the format of a file, a key of ``NAMES``; None for any other content.

    Args:
        head: The first ``HEAD_BYTES`` bytes of the file, or all of a smaller one.
    """
    for signature, name in _SIGNATURES.items():
        if head.startswith(signature):
            return name
    if head.startswith(b'RIFF') and head[8:12] == b'WEBP':
        return WEBP
    if head[:1] == b'P' and head[1:2] in b'123456' and head[2:3] in b' \t\n\v\f\r#' and head[2:3]:
        return PNM
    return AVIF if _is_avif(head) else None


def read_file(path: Path) -> tuple[str | None, bytes]:
    """Return the format and the bytes of a file.

    Of a file that is of none of the formats, only the beginning is read.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        with open(path, 'rb') as file:
            head = file.read(HEAD_BYTES)
            name = format_of(head)
            if name is None or len(head) < HEAD_BYTES:
                return name, head
            if not file.seekable():
                return name, head + file.read()
            file.seek(0)
            return name, file.read()
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror})') from error


def unknown(path: Path) -> UnknownFormatError:
    """Return the error for an image of another format."""
    *others, last = NAMES.values()
    return UnknownFormatError(
        f'{path}: not an image, or of a format that is not read; convert it to PNG (read are '
        f'{", ".join(others)} and {last})'
    )


def _is_avif(head: bytes) -> bool:
    """Return whether the first box of a file, of kind ``ftyp``, has a brand of AVIF."""
    if head[4:8] != b'ftyp':
        return False
    brands = head[8 : int.from_bytes(head[:4], 'big')]
    return any(brands[place : place + 4] in _AVIF_BRANDS for place in range(0, len(brands), 4))
