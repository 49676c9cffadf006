"""The limit of pixels, and files that claim more pixels than they hold: refused before decoding."""

import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from common.errors import InputError
from datasets import image_files
from datasets.keys import MAX_PIXELS, ImageReading
from support import stand_ins
from support.little_memory import little_memory

SIDE = 60000
MAX_BYTES = 256 << 20  # of memory while a file is refused that claims gigabytes
PICTURE = stand_ins.image(60, 120)


def encoded(ending):
    return bytearray(cv2.imencode(ending, PICTURE)[1].tobytes())


def jpeg(width, height):
    data = encoded('.jpg')
    size = data.index(b'\xff\xc0') + 5
    data[size : size + 4] = struct.pack('>HH', height, width)
    return data


def bmp(width, height):
    data = encoded('.bmp')
    data[18:26] = struct.pack('<ii', width, height)
    return data


def tiff(width, height, *tags):
    """Return an uncompressed TIFF of a grey pixel."""
    known = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: 1}
    known |= dict(tags)
    entries = b''.join(struct.pack('<HHII', tag, 4, 1, known[tag]) for tag in sorted(known))
    return b'II*\0' + struct.pack('<IH', 8, len(known)) + entries + bytes(5)


def jpeg_2000(width, height):
    data = encoded('.jp2')
    size = data.index(b'\xff\x51') + 6
    for place in (size, size + 16):  # of the image and of its tile
        data[place : place + 8] = struct.pack('>II', width, height)
    header = data.index(b'ihdr') + 4
    data[header : header + 8] = struct.pack('>II', height, width)
    return data


def gif(width, height):
    return (
        b'GIF89a'
        + struct.pack('<HH', width, height)
        + b'\x80\0\0'
        + bytes(6)
        + (b',' + struct.pack('<HHHHB', 0, 0, width, height, 0) + b'\2\1\x44\0;')
    )


CLAIMS = {
    'a.jpg': jpeg,
    'a.ppm': lambda width, height: b'P6\n%d %d\n255\n' % (width, height) + bytes(9),
    'ascii.pgm': lambda width, height: b'P2 %d %d 255 1 2 3' % (width, height),
    'a.bmp': bmp,
    'upside_down.bmp': lambda width, height: bmp(width, -height),
    'a.tif': tiff,
    'a.jp2': jpeg_2000,
    'a.gif': gif,
}  # fmt: skip


def refused(path, limit=MAX_PIXELS):
    """Return the message, the same for image and size, raised without the memory."""
    messages, reading = [], ImageReading(max_pixels=limit)
    for read in (image_files.read_image, image_files.image_size):
        with little_memory(MAX_BYTES), pytest.raises(InputError) as error:
            read(path, reading)
        messages.append(str(error.value))
    assert messages[0] == messages[1]
    assert messages[0].startswith(f'{path}: ')
    assert '\n' not in messages[0]
    return messages[0]


@pytest.mark.parametrize('name', CLAIMS)
def test_a_file_that_claims_billions_of_pixels_is_refused(tmp_path, name):
    """The message tells how to raise the limit."""
    path, pixels = tmp_path / name, SIDE * (SIDE - 1)
    path.write_bytes(CLAIMS[name](SIDE, SIDE - 1))
    message = refused(path)
    assert f'{SIDE}x{SIDE - 1} pixels, but at most {MAX_PIXELS} are read' in message
    assert f'--set max_pixels={pixels}, or --max-pixels {pixels} in python -m datasets' in message


@pytest.mark.parametrize('name', [n for n in CLAIMS if n not in ('a.jp2', 'a.gif')])
def test_a_file_that_cannot_hold_its_pixels_is_refused(tmp_path, name):
    """Whatever the limit is. In JPEG 2000 and GIF, few bytes can be many pixels."""
    path = tmp_path / name
    path.write_bytes(CLAIMS[name](SIDE, SIDE - 1))
    assert f'bytes cannot hold {SIDE}x{SIDE - 1} pixels)' in refused(path, SIDE * SIDE)


def test_tags_of_a_tiff_with_absurd_values_are_refused(tmp_path):
    path, big = tmp_path / 'a.tif', 2_000_000_000
    for tags in ([(322, big), (323, big)], [(277, big)], [(258, 65000)]):
        path.write_bytes(tiff(5, 5, *tags))
        refused(path)


@pytest.mark.parametrize('ending', ['jpg', 'pgm', 'ppm', 'bmp', 'tif'])
def test_small_and_plain_images_are_not_refused(tmp_path, ending):
    """These take the fewest bytes for a pixel."""
    for height, width in ((1, 1), (1, 3), (640, 480), (1500, 2000)):
        path = tmp_path / f'{width}.{ending}'
        plain = np.full((height, width), 255, np.uint8)
        options = {'optimize': True, 'quality': 1} if ending == 'jpg' else {}
        Image.fromarray(plain).save(path, **options)
        assert image_files.read_image(path).shape == (height, width, 3)
        Image.fromarray(plain).convert('1').save(path)
        assert image_files.read_image(path).shape == (height, width, 3)
    for number, data in enumerate((b'P1 2 2 0110', b'P2 1 2 9 1 2', b'P3 1 1 9 1 2 3')):
        path = tmp_path / f'{number}.pnm'
        path.write_bytes(data)
        assert image_files.read_image(path).size in (3, 6, 12)


def test_a_jpeg_2000_without_some_tiles_is_refused(tmp_path):
    """Decoders yield black in their place, and take gigabytes of memory for large images."""
    path = tmp_path / 'a.jp2'
    Image.fromarray(PICTURE).save(path, tile_size=(32, 32))
    assert image_files.read_image(path).shape == PICTURE.shape
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rindex(b'\xff\x90')])
    assert 'tiles of the image are missing' in refused(path)
    size = whole.index(b'\xff\x51') + 6
    path.write_bytes(whole[:size] + struct.pack('>II', 20000, 20000) + whole[size + 8 :])
    assert 'tiles of the image are missing' in refused(path)


def test_a_jpeg_that_passes_over_its_pixels_too_often_is_refused(tmp_path):
    """A scan of 20 bytes takes milliseconds; thousands of them fit into a small file."""
    path = tmp_path / 'a.jpg'
    Image.fromarray(PICTURE).save(path, progressive=True)
    expected, whole = image_files.read_image(path), path.read_bytes()
    last = whole.rindex(b'\xff\xda')
    scan, end = whole[last:-2], whole[-2:]
    path.write_bytes(whole[:last] + 200 * scan + end)
    assert 'damaged (209 scans, but at most 100 are read)' in refused(path)
    path.write_bytes(whole + 200 * scan)  # after the image, such as a video of a phone
    assert np.array_equal(image_files.read_image(path), expected)
    arithmetic = jpeg(SIDE, SIDE - 1).replace(b'\xff\xc0', b'\xff\xc9')
    path.write_bytes(arithmetic)
    assert f'bytes cannot hold {SIDE}x{SIDE - 1} pixels)' in refused(path, SIDE * SIDE)


def test_an_animation_on_a_huge_canvas_is_refused(tmp_path):
    """Its frames are small; the canvases would take four gigabytes."""
    path, frames = tmp_path / 'a.webp', [Image.fromarray(PICTURE), Image.fromarray(255 - PICTURE)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert image_files.read_image(path).shape == PICTURE.shape
    black = [Image.new('RGB', (2500, 2000), (0, 0, blue)) for blue in (0, 9)]
    black[0].save(tmp_path / 'b.webp', save_all=True, append_images=black[1:], lossless=True)
    assert image_files.image_size(tmp_path / 'b.webp') == (2000, 2500)  # 138 bytes
    data = bytearray(path.read_bytes())
    data[24:30] = 2 * (16382).to_bytes(3, 'little')
    path.write_bytes(data)
    with pytest.raises(InputError, match='a.webp: .* bytes cannot hold 16383x16383 pixels'):
        image_files.read_image(path)


def test_comments_in_text_cost_no_time(tmp_path):
    """Pillow copies the rest of a block for each comment; half a minute for 18 MB."""
    path = tmp_path / 'a.pgm'
    path.write_bytes(b'P2#a\n3 1 # b\r255\n' + b'# comment\n' * 300_000 + b'7 8#c\n 9')
    assert image_files.read_image(path)[0, :, 0].tolist() == [7, 8, 9]


def test_images_too_wide_for_opencv_are_read(tmp_path):
    path, row = tmp_path / 'a.ppm', np.random.RandomState(0).bytes(3 * ((1 << 20) + 5))
    path.write_bytes(b'P6 %d 1 255 ' % (len(row) // 3) + row)
    assert image_files.read_image(path)[0, :, ::-1].tobytes() == row
