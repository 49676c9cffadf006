"""Checksums of PNG files: a flipped bit anywhere is noticed, and no whole file is refused."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

import datasets
from common.errors import InputError
from datasets import image_files, png_chunks
from datasets.readers import label_files
from support import stand_ins
from support.genuine_data import GENUINE

PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
          (0, 1, 1, 2))  # fmt: skip
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
KINDS = [(kind, bits) for kind in CHANNELS for bits in (1, 2, 4, 8, 16)
         if bits == 8 or (bits == 16 and kind != 3) or (bits < 8 and kind in (0, 3))]  # fmt: skip


def chunk(kind, data):
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


def header(width, height, bits, kind, interlaced=False):
    return b'IHDR', struct.pack('>IIBBBBB', width, height, bits, kind, 0, 0, interlaced)


def png(*chunks):
    return png_chunks.SIGNATURE + b''.join(chunk(*each) for each in (*chunks, (b'IEND', b'')))


def noise(width, height, bits, kind, interlaced=False, extra=()):
    """Return a PNG of random values and filters, with two chunks of pixels."""
    rng, rows = np.random.RandomState(0), b''
    for x, y, across, down in PASSES if interlaced else ((0, 0, 1, 1),):
        for _ in range(y, height, down) if width > x else ():
            length = -(-len(range(x, width, across)) * bits * CHANNELS[kind] // 8)
            rows += bytes([rng.randint(5)]) + rng.bytes(length)
    pixels, palette = zlib.compress(rows), [(b'PLTE', rng.bytes(3 << bits))] if kind == 3 else []
    parts = (b'IDAT', pixels[:20]), (b'IDAT', pixels[20:])
    return png(header(width, height, bits, kind, interlaced), *palette, *extra, *parts)


@pytest.mark.parametrize('interlaced', [False, True])
@pytest.mark.parametrize(('kind', 'bits'), KINDS)
def test_every_kind_of_png_is_decoded_as_by_opencv(tmp_path, kind, bits, interlaced):
    path, transparency = tmp_path / 'a.png', {0: bytes(2), 2: bytes(6), 3: b'\0\7'}
    for width, height in ((1, 1), (33, 17), (3, 1), (1, 9)):
        extras = [(), [(b'tRNS', transparency[kind])]] if kind in transparency else [()]
        for extra in extras:
            path.write_bytes(noise(width, height, bits, kind, interlaced, extra))
            expected = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
            expected = expected >> 8 if bits == 16 else expected
            assert np.array_equal(image_files.read_image(path), expected)
            assert image_files.image_size(path) == (height, width)


def animation():
    frames = [Image.fromarray(stand_ins.image(12, 16, seed)) for seed in (0, 1)]
    file, text = io.BytesIO(), PngImagePlugin.PngInfo()
    text.add(b'tEXt', b'after\0the pixels', after_idat=True)
    frames[0].save(file, 'PNG', save_all=True, append_images=frames[1:], pnginfo=text)
    return file.getvalue()


FLIPPED = {
    **{f'{kind}-{bits}-{interlaced}': noise(9, 7, bits, kind, interlaced)
       for kind, bits in KINDS if bits >= 8 for interlaced in (False, True)},
    'animation': animation(),
}  # fmt: skip


@pytest.mark.parametrize('name', FLIPPED)
def test_a_flipped_bit_anywhere_is_noticed(tmp_path, name):
    """In lengths, kinds, values and checksums of all chunks; only the signature has none."""
    path, whole = tmp_path / 'a.png', FLIPPED[name]
    path.write_bytes(whole)
    image_files.read_image(path)
    for bit in range(0, 8 * len(whole), 29):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        for read in (image_files.read_image, image_files.image_size, label_files.open_png):
            with pytest.raises(InputError, match='a.png: '):
                read(path)


def test_a_flipped_bit_of_a_genuine_label_is_noticed(shared, tmp_path):
    """Without the checksums of chunks, 115 of 2,880 such files are read as other labels."""
    path, rng = tmp_path / 'a.png', np.random.RandomState(0)
    for (name, folder), splits in GENUINE.items():
        dataset = datasets.open(name, shared / 'data' / folder, min(splits))
        label = dataset[0].label
        if label.suffix != '.png':
            continue
        whole = label.read_bytes()
        path.write_bytes(whole)
        label_files.open_png(path)
        for bit in rng.randint(0, 8 * len(whole), 60):
            data = bytearray(whole)
            data[bit // 8] ^= 1 << bit % 8
            path.write_bytes(data)
            with pytest.raises(InputError, match='a.png: '):
                label_files.open_png(path)


def test_a_png_must_hold_the_pixels_that_its_header_claims(tmp_path):
    """Also if the checksums are right: memory for the pixels is never allocated."""
    path, pixels = tmp_path / 'a.png', (b'IDAT', zlib.compress(bytes(50)))
    for claimed, problem in {
        (30000, 17000, 8, 2): 'cannot hold 30000x17000 pixels',
        (0, 7, 8, 2): r'damaged \(0x7 pixels\)',
        (7, 7, 8, 5): 'its PNG header is invalid',
        (7, 7, 9, 2): 'damaged or truncated',
    }.items():
        path.write_bytes(png(header(*claimed), pixels))
        for read in (image_files.read_image, label_files.open_png):
            with pytest.raises(InputError, match=f'a.png: .*{problem}'):
                read(path)
    for chunks in (
        [header(4, 4, 8, 0), header(9999, 9999, 8, 0), pixels],
        [pixels],
        [(b'IHDR', b'')],
    ):
        path.write_bytes(png(*chunks))
        for read in (image_files.read_image, label_files.open_png):
            with pytest.raises(InputError, match='a.png: damaged or truncated image'):
                read(path)


def test_the_most_compressed_png_is_read(tmp_path):
    """Deflate reaches 1032 to 1; an image of one colour must not be taken for a hostile one."""
    path = tmp_path / 'a.png'
    Image.fromarray(np.zeros((4000, 4000), np.uint8)).save(path, compress_level=9)
    assert not image_files.read_image(path).any()


@pytest.mark.parametrize('kind', [b'tEXt', b'zTXt', b'iTXt'])
def test_thousands_of_texts_harm_no_image(kind, tmp_path):
    texts = [(kind, b'key %d\0' % number) for number in range(2000)]
    for name, extra in (('plain', []), ('many', texts)):
        (tmp_path / f'{name}.png').write_bytes(noise(8, 9, 8, 0, extra=extra))
    found = image_files.read_image(tmp_path / 'many.png')
    assert np.array_equal(found, image_files.read_image(tmp_path / 'plain.png'))
