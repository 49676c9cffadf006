"""Images of every format that is decoded."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from datasets import image_files
from datasets.keys import MAX_PIXELS
from fuzz.inputs import Content, Reader, one_file
from fuzz.mutators import pictures as picture_damage
from fuzz.readers.pictures import chunk, close_to, equal_to, png, saved, smooth

_BYTES_PER_PIXEL = 24  # the decoder's array, its result, and copies in other orders and depths


def read(path: Path) -> np.ndarray:
    """Return the pixels; the size is asked for as well, as commands do."""
    image_files.image_size(path)
    return image_files.read_image(path)


def declared_bytes(path: Path) -> int:
    """Return the memory that the declared size of an image allows."""
    with Image.open(path) as image:
        return _BYTES_PER_PIXEL * min(MAX_PIXELS, image.width * image.height)


def _grey(rgb: np.ndarray) -> np.ndarray:
    return rgb[..., 1]


def _tripled(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


def _jpeg(rng: np.random.Generator) -> list[Content]:
    rgb = smooth(rng, 24, 40)
    image, right = Image.fromarray(rgb), partial(close_to, rgb)
    exif = Image.Exif()
    exif[0x0112] = 3
    turned = partial(close_to, np.ascontiguousarray(rgb[::-1, ::-1]))
    grey = partial(close_to, _tripled(_grey(rgb)))
    return [
        one_file('baseline.jpg', saved(image, format='JPEG', quality=95), right),
        one_file('progressive.jpg', saved(image, format='JPEG', progressive=True), right),
        one_file('turned.jpg', saved(image, format='JPEG', quality=95, exif=exif), turned),
        one_file('grey.jpg', saved(Image.fromarray(_grey(rgb)), format='JPEG', quality=95), grey),
        one_file(
            'restarts.jpg', saved(image, format='JPEG', quality=95, restart_marker_rows=1), right
        ),
    ]


def _png(rng: np.random.Generator) -> list[Content]:
    rgb = smooth(rng)
    grey, image = _grey(rgb), Image.fromarray(rgb)
    palette = image.quantize(16)
    in_palette = np.asarray(palette.convert('RGB'))
    deep = rgb.astype(np.uint16) * 256 + 77
    alpha = np.dstack([rgb, np.full(grey.shape, 255, np.uint8)])
    animated = saved(image, format='PNG', save_all=True, append_images=[Image.fromarray(rgb[::-1])])
    contents = [
        ('rgb.png', png(rgb, 8), rgb),
        ('interlaced.png', png(rgb, 8, interlaced=True), rgb),
        ('text.png', png(rgb, 8, extra=chunk(b'tEXt', b'Comment\0a photo')), rgb),
        ('grey.png', png(grey, 8), _tripled(grey)),
        ('grey_interlaced.png', png(grey, 8, interlaced=True), _tripled(grey)),
        ('one_bit.png', png(grey >> 7, 1), _tripled((grey >> 7) * np.uint8(255))),
        ('two_bits.png', png(grey >> 6, 2), _tripled((grey >> 6) * np.uint8(85))),
        ('palette.png', saved(palette, format='PNG'), in_palette),
        ('alpha.png', png(alpha, 8), rgb),
        ('alpha_interlaced.png', png(alpha, 8, interlaced=True), rgb),
        ('deep.png', png(deep, 16), rgb),
        ('deep_grey.png', png(deep[..., 1], 16), _tripled(grey)),
        ('animated.png', animated, rgb),
    ]
    return [one_file(name, data, partial(equal_to, pixels)) for name, data, pixels in contents]


def _bmp(rng: np.random.Generator) -> list[Content]:
    rgb = smooth(rng)
    image = Image.fromarray(rgb)
    palette = image.quantize(16)
    return [
        one_file('rgb.bmp', saved(image, format='BMP'), partial(equal_to, rgb)),
        one_file(
            'palette.bmp',
            saved(palette, format='BMP'),
            partial(equal_to, np.asarray(palette.convert('RGB'))),
        ),
        one_file(
            'one_bit.bmp',
            saved(Image.fromarray(_grey(rgb) > 127), format='BMP'),
            partial(equal_to, _tripled((_grey(rgb) > 127) * np.uint8(255))),
        ),
    ]


def _tiff(rng: np.random.Generator) -> list[Content]:
    rgb = smooth(rng)
    image = Image.fromarray(rgb)
    forms: dict[str, dict] = {
        'plain': {},
        'lzw': dict(compression='tiff_lzw'),
        'deflate': dict(compression='tiff_adobe_deflate'),
        'packbits': dict(compression='packbits'),
    }
    contents = [
        one_file(f'{name}.tif', saved(image, format='TIFF', **options), partial(equal_to, rgb))
        for name, options in forms.items()
    ]
    deep = rgb.astype(np.uint16) * 256 + 77
    encoded = cv2.imencode('.tif', np.ascontiguousarray(deep[..., ::-1]))[1].tobytes()
    palette = image.quantize(16)
    return [
        *contents,
        one_file('deep.tif', encoded, partial(close_to, rgb)),  # libtiff's 16 bits are rounded
        one_file(
            'jpeg.tif',
            saved(image, format='TIFF', compression='jpeg', quality=95),
            partial(close_to, rgb),
        ),
        one_file(
            'grey.tif',
            saved(Image.fromarray(_grey(rgb)), format='TIFF'),
            partial(equal_to, _tripled(_grey(rgb))),
        ),
        one_file(
            'palette.tif',
            saved(palette, format='TIFF'),
            partial(equal_to, np.asarray(palette.convert('RGB'))),
        ),
        one_file(
            'fax.tif',
            saved(Image.fromarray(_grey(rgb) > 127), format='TIFF', compression='group4'),
            partial(equal_to, _tripled((_grey(rgb) > 127) * np.uint8(255))),
        ),
        one_file(
            'pages.tif',
            saved(image, format='TIFF', save_all=True, append_images=[image]),
            partial(equal_to, rgb),
        ),
    ]


def _webp(rng: np.random.Generator) -> list[Content]:
    rgb = smooth(rng)
    image = Image.fromarray(rgb)
    more = [Image.fromarray(np.ascontiguousarray(rgb[::-1]))]
    return [
        one_file(
            'lossless.webp', saved(image, format='WEBP', lossless=True), partial(equal_to, rgb)
        ),
        one_file('lossy.webp', saved(image, format='WEBP', quality=95), partial(close_to, rgb)),
        one_file(
            'animated.webp',
            saved(image, format='WEBP', save_all=True, append_images=more, lossless=True),
            partial(equal_to, rgb),
        ),
    ]


def _pnm(rng: np.random.Generator) -> list[Content]:
    rgb = smooth(rng)
    grey, size = _grey(rgb), f'{rgb.shape[1]} {rgb.shape[0]}'
    text = ' '.join(map(str, rgb.ravel())).encode()
    deep = (rgb.astype(np.uint16) * 256 + 77).astype('>u2')
    bits = np.packbits(grey < 128, axis=1).tobytes()
    contents = [
        ('binary.ppm', f'P6\n{size}\n255\n'.encode() + rgb.tobytes(), rgb),
        ('comment.ppm', f'P6\n# made by\n{size}\n255\n'.encode() + rgb.tobytes(), rgb),
        ('text.ppm', f'P3\n{size}\n255\n'.encode() + text + b'\n', rgb),
        ('deep.ppm', f'P6\n{size}\n65535\n'.encode() + deep.tobytes(), rgb),
        ('grey.pgm', f'P5\n{size}\n255\n'.encode() + grey.tobytes(), _tripled(grey)),
        (
            'bits.pbm',
            f'P4\n{size}\n'.encode() + bits,
            _tripled((grey >= 128) * np.uint8(255)),
        ),
    ]
    return [one_file(name, data, partial(equal_to, pixels)) for name, data, pixels in contents]


def _gif(rng: np.random.Generator) -> list[Content]:
    palette = Image.fromarray(smooth(rng)).quantize(16)
    rgb = np.asarray(palette.convert('RGB'))
    more = [Image.fromarray(smooth(rng)).quantize(16)]
    return [
        one_file('still.gif', saved(palette, format='GIF'), partial(equal_to, rgb)),
        one_file(
            'animated.gif',
            saved(palette, format='GIF', save_all=True, append_images=more),
            partial(equal_to, rgb),
        ),
    ]


def _avif(rng: np.random.Generator) -> list[Content]:
    rgb = smooth(rng, 24, 40)
    data = saved(Image.fromarray(rgb), format='AVIF', quality=95, max_threads=1)
    return [one_file('photo.avif', data, partial(close_to, rgb))]


def _jpeg_2000(rng: np.random.Generator) -> list[Content]:
    rgb = smooth(rng, 40, 40)
    image = Image.fromarray(rgb)
    return [
        one_file('photo.jp2', saved(image, format='JPEG2000'), partial(close_to, rgb)),
        one_file(
            'stream.j2k', saved(image, format='JPEG2000', no_jp2=True), partial(close_to, rgb)
        ),
    ]


def _reader(
    name: str, make: Callable[[np.random.Generator], Sequence[Content]], share: int, **words
) -> Reader:
    return Reader(name, make, read, declared_bytes=declared_bytes, share=share, **words)


READERS = (
    _reader('png', _png, 6, mutators=picture_damage.OF_PNG, has_checksums=True),
    _reader('jpeg', _jpeg, 4, mutators=picture_damage.OF_JPEG),
    _reader('bmp', _bmp, 2, mutators=picture_damage.OF_BMP),
    _reader('tiff', _tiff, 4, mutators=picture_damage.OF_TIFF),
    _reader('webp', _webp, 2),
    _reader('pnm', _pnm, 3, mutators=picture_damage.OF_PNM),
    _reader('gif', _gif, 2),
    _reader('avif', _avif, 2),
    _reader('jpeg_2000', _jpeg_2000, 2),
)
