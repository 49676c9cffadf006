"""Data sets of a user with a mask of any kind, for the reader ``folder``."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import yaml
from PIL import Image

from support import stand_ins

SIZE = 24, 40  # height and width in pixels


def random_values(*values: int, seed: int = 0) -> np.ndarray:
    """Return a map with each of these values in some pixels, uint8."""
    order = np.random.RandomState(seed).permutation(SIZE[0] * SIZE[1]) % len(values)
    return np.array(values, np.uint8)[order].reshape(SIZE)


def with_palette(indices: np.ndarray, colours: dict[int, tuple[int, int, int]]) -> Image.Image:
    """Return a palette image with the colours of some indices; the others are black."""
    table = np.zeros((256, 3), np.uint8)
    for index, colour in colours.items():
        table[index] = colour
    image = Image.fromarray(indices, 'P')
    image.putpalette(table.ravel().tolist())
    return image


def png(pixels: np.ndarray, bits: int, colour_type: int) -> bytes:
    """Return a PNG of (H, W) or (H, W, channels) values, packed as the PNG standard says."""
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, -1)
    if bits == 16:
        packed = [row.astype('>u2').tobytes() for row in rows]
    else:
        digits = (rows[..., None] >> np.arange(bits)[::-1]) & 1
        packed = [np.packbits(row).tobytes() for row in digits.reshape(height, -1)]
    header = struct.pack('>IIBBBBB', width, height, bits, colour_type, 0, 0, 0)
    data = zlib.compress(b''.join(b'\0' + row for row in packed))
    chunks = ((b'IHDR', header), (b'IDAT', data), (b'IEND', b''))
    return b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(content))
        + kind
        + content
        + struct.pack('>I', zlib.crc32(kind + content))
        for kind, content in chunks
    )


def as_jpeg(pixels: np.ndarray) -> bytes:
    """Return an image as JPEG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, 'JPEG')
    return file.getvalue()


def write(root: Path, description: str | dict, *masks, split: str = '') -> Path:
    """Write a data set with an image for each mask, m0, m1 and so on.

    Args:
        root: The folder.
        description: The content of ``dataset.yaml``.
        *masks: Arrays, images of Pillow or the bytes of files.
        split: Folder of the split below those of images and labels.
    """
    for folder in ('images', 'labels'):
        (root / folder / split).mkdir(parents=True, exist_ok=True)
    for number, mask in enumerate(masks):
        name = Path(split, f'm{number}')
        cv2.imwrite(str(root / 'images' / name) + '.jpg', stand_ins.image(*SIZE, seed=number))
        target = root / 'labels' / f'{name}.png'
        if isinstance(mask, bytes):
            target.write_bytes(mask)
        else:
            (mask if isinstance(mask, Image.Image) else Image.fromarray(mask)).save(target)
    describe(root, description)
    return root


def describe(root: Path, description: str | dict) -> None:
    """Write ``dataset.yaml``."""
    if not isinstance(description, str):
        description = yaml.safe_dump(description, sort_keys=False)
    (root / 'dataset.yaml').write_text(description)
