"""Image files: finding, reading whatever photographers and programs produce, and writing so that
nothing is lost.
"""

import glob
import io
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from engine.command import InputError, UserError

IMAGES = (
    '.jpg',
    '.jpeg',
    '.jpe',
    '.jp2',
    '.png',
    '.bmp',
    '.dib',
    '.tif',
    '.tiff',
    '.webp',
    '.ppm',
    '.pgm',
    '.pbm',
    '.pnm',
    '.gif',
    '.avif',
    '.exr',
    '.hdr',
    '.ras',
    '.sr',
)
VIDEOS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv', '.flv', '.ts')


@dataclass(frozen=True)
class Input:
    """A file to segment. relative: its place below the folder that all inputs share."""

    path: Path
    relative: Path

    @property
    def is_video(self) -> bool:
        return self.path.suffix.lower() in VIDEOS


def find_inputs(patterns: Sequence[str], leave_out: Path | None = None) -> list[Input]:
    """The files that ``patterns`` mean, each once, sorted: files, folders (searched with all
    below), glob patterns.

    leave_out: a folder, that of earlier results, in which nothing is looked for. Raises
        ``UserError``.
    """
    excluded = leave_out.resolve() if leave_out else None
    found, folders = [], []
    for pattern in patterns:
        path = Path(pattern).expanduser()
        if path.is_dir():
            files = [
                p
                for p in sorted(path.rglob('*'))
                if p.suffix.lower() in IMAGES + VIDEOS
                and p.is_file()
                and excluded not in p.resolve().parents
            ]
            if not files:
                raise UserError(f'{pattern}: no image or video in this folder')
            folders.append(path.resolve())
        elif path.exists():
            files = [path]
        elif glob.has_magic(pattern):
            files = [
                p
                for p in map(Path, sorted(glob.glob(os.path.expanduser(pattern), recursive=True)))
                if p.is_file() and excluded not in p.resolve().parents
            ]
            if not files:
                raise UserError(f'{pattern}: no file matches')
        else:
            raise UserError(f'{pattern}: no such file or folder')
        found += files
    root = os.path.commonpath([*folders, *(p.absolute().parent for p in found)])
    return [
        Input(path, Path(os.path.relpath(path.absolute(), root)))
        for path in {p.resolve(): p for p in found}.values()
    ]


def read_image(path: Path) -> np.ndarray:
    """An image file as a ``uint8`` BGR array (H, W, 3).

    Grey becomes BGR, 16 bits become 8, alpha is dropped and an EXIF rotation is applied. OpenCV
    decodes, as in the published code; Pillow looks first, because OpenCV returns half an image from
    a truncated file without a word. Raises ``InputError``.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror})') from error
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except UnidentifiedImageError:
        pass  # a format that OpenCV may know
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f'{path}: damaged or truncated image ({error})') from error
    except Image.DecompressionBombError:
        pass  # only large: more than 179 million pixels
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error as error:
        raise InputError(f'{path}: cannot be decoded ({error.err})') from error
    if image is None:
        raise InputError(f'{path}: not an image, or of a format that OpenCV does not read')
    return image


def write_image(path: Path, image: np.ndarray):
    """Write a ``uint8`` BGR or grey image in the format of its ending; raises ``UserError``."""
    try:
        encoded, data = cv2.imencode(path.suffix, image)
    except cv2.error as error:
        raise UserError(f'{path}: cannot be encoded ({error.err})') from error
    if not encoded:
        raise UserError(
            f'{path}: {path.suffix} cannot hold {image.shape[1]}x{image.shape[0]} pixels'
        )
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_palette_png(path: Path, labels: np.ndarray, palette: Sequence[Sequence[int]]):
    """Write class indices (H, W) as a PNG with a palette, whose values are indices and which
    viewers show in colour.
    """
    image = Image.fromarray(labels, mode='P')
    image.putpalette([value for colour in palette for value in colour])
    with replacing(path) as temporary:
        image.save(temporary, format='PNG')


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``, which takes its place when the block ends well; raises
    ``UserError``.
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


def check_format(path: Path):
    """Raise ``UserError`` when no image format has the ending of ``path``."""
    if not path.suffix or not cv2.haveImageWriter(str(path)):
        raise UserError(
            f'{path}: OpenCV writes no {path.suffix or "images without an ending"}; '
            'end the name in .jpg or .png'
        )
