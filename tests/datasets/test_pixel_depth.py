"""Kinds of pixels: what is refused, and how 16 bits become 8 by the config key bit_depth."""

import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from common import once
from common.errors import InputError
from datasets.image_files import read_image
from datasets.keys import ImageReading
from support.tiff_writer import write_tiff

RAMP = np.linspace(0, 1, 64 * 64).reshape(64, 64)  # as large as JPEG 2000 needs


@pytest.fixture(autouse=True)
def _new_command():
    """Every warning can be shown again."""
    once.reset()


def colour(grey):
    """Return a colour image whose channels differ."""
    return np.dstack([grey, grey[::-1], grey.T])


def test_packed_channels_in_separate_planes_are_refused(tmp_path):
    """OpenCV yields other pixels at each reading, those of freed memory."""
    path, side = tmp_path / 'a.tif', 16
    plane = side * side * 12 // 8
    tags = [(256, side), (257, side), (259, 1), (262, 2), (277, 3), (278, side), (284, 2)]
    lists = {258: (3, 'HHH', (12,) * 3), 273: (4, 'III', ()), 279: (4, 'III', (plane,) * 3)}
    place = 8 + 2 + 12 * (len(tags) + len(lists)) + 4
    entries, tail = {tag: struct.pack('<HHIHxx', tag, 3, 1, value) for tag, value in tags}, b''
    pixels = place + 6 + 12 + 12
    for tag, (kind, layout, values) in lists.items():
        values = values or tuple(pixels + number * plane for number in range(3))
        entries[tag] = struct.pack('<HHII', tag, kind, 3, place + len(tail))
        tail += struct.pack(f'<{layout}', *values)
    directory = b''.join(entries[tag] for tag in sorted(entries))
    head = struct.pack('<2sHIH', b'II', 42, 8, len(entries)) + directory + bytes(4)
    path.write_bytes(head + tail + bytes(3 * plane))
    with pytest.raises(InputError, match='a.tif: 12-bit channels in separate planes .*; save it'):
        read_image(path)


@pytest.mark.parametrize(
    ('kind', 'words'),
    [
        ('float16', '16-bit floating-point'),
        ('float32', '32-bit floating-point'),
        ('float64', '64-bit floating-point'),
        ('int8', '8-bit signed'),
        ('int16', '16-bit signed'),
        ('int32', '32-bit signed'),
        ('uint32', '32-bit integer'),
        ('uint64', '64-bit integer'),
    ],
)
def test_tiff_pixels_without_a_known_range_are_refused(kind, words, tmp_path):
    pixels = (RAMP * 100).astype(kind)
    for number, each in enumerate([pixels, np.dstack([pixels] * 3), np.dstack([pixels] * 4)]):
        path = write_tiff(tmp_path / f'{number}.tif', each)
        with pytest.raises(InputError, match=f'tif: {words} pixels, .*; save it with 8 or 16 bits'):
            read_image(path)


def test_floating_point_images_of_opencv_are_refused(tmp_path):
    """OpenCV writes a colour TIFF in LogLuv, whose tags say that it has 16-bit integers."""
    path = tmp_path / 'a.tif'
    cv2.imwrite(str(path), colour(RAMP).astype(np.float32) * 255)
    with pytest.raises(InputError, match='a.tif: 32-bit floating-point pixels, .*; save it'):
        read_image(path)


@pytest.mark.parametrize('ending', ['png', 'tif', 'pgm', 'ppm', 'jp2'])
@pytest.mark.parametrize('depth', [8, 10, 12, 14])
def test_values_of_a_lower_depth_are_read_as_declared(ending, depth, tmp_path, caplog):
    """Without the key the image is nearly black, and one warning names file and remedy."""
    grey = np.rint(RAMP * ((1 << depth) - 1)).astype(np.uint16)
    deep = grey if ending == 'pgm' else colour(grey)
    path, second = tmp_path / f'a.{ending}', tmp_path / f'b.{ending}'
    for each in (path, second):
        cv2.imwrite(str(each), deep)
    assert read_image(path).max() <= 64
    read_image(second)
    (line,) = caplog.messages
    assert line.startswith(f'{path}: its 16-bit values end at {(1 << depth) - 1}')
    assert f'bit_depth: {depth} (--set bit_depth={depth}' in line
    read = read_image(path, ImageReading(bit_depth=depth))
    assert np.array_equal(read, np.broadcast_to(deep.reshape(64, 64, -1) >> depth - 8, read.shape))
    once.reset()
    read_image(path, ImageReading(bit_depth=16))
    assert caplog.messages == [line]


def test_a_value_beyond_the_declared_depth_is_an_error(tmp_path):
    path = tmp_path / 'a.png'
    cv2.imwrite(str(path), np.full((4, 4), 4096, np.uint16))
    with pytest.raises(InputError, match='a.png: holds the value 4096, but bit_depth is 12, up to'):
        read_image(path, ImageReading(bit_depth=12))
    assert read_image(path, ImageReading(bit_depth=13)).max() == 4096 >> 5


def test_images_of_8_bits_and_of_all_16_bits_are_read_as_ever(tmp_path, caplog):
    image = (colour(RAMP) * 255).astype(np.uint8)
    cv2.imwrite(str(tmp_path / 'a.png'), image)
    cv2.imwrite(str(tmp_path / 'b.png'), image.astype(np.uint16) * 257)
    assert np.array_equal(read_image(tmp_path / 'a.png', ImageReading(bit_depth=12)), image)
    assert np.array_equal(read_image(tmp_path / 'b.png'), image)
    cv2.imwrite(str(tmp_path / 'black.png'), np.zeros((4, 4), np.uint16))
    assert not read_image(tmp_path / 'black.png').any()
    assert caplog.messages == []


def test_16_bits_that_a_decoder_reduces_itself_refuse_the_key(tmp_path):
    path = write_tiff(tmp_path / 'cmyk.tif', np.dstack([RAMP * 4095] * 4).astype(np.uint16), 1, 5)
    assert read_image(path).dtype == np.uint8
    with pytest.raises(InputError, match='cmyk.tif: bit_depth 12 cannot be applied to .* CMYK'):
        read_image(path, ImageReading(bit_depth=12))


def test_a_tiff_with_packed_12_bits_is_read(tmp_path):
    """OpenCV decodes it to 16 bits only."""
    values = np.arange(0, 4096, 64).reshape(8, 8)
    first, second = values.reshape(-1, 2).T
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1)
    path = write_tiff(tmp_path / 'a.tif', packed.reshape(8, 12).astype(np.uint8))
    data = path.read_bytes().replace(_entry(256, 4, 12), _entry(256, 4, 8))  # the width
    path.write_bytes(data.replace(_entry(258, 3, 8), _entry(258, 3, 12)))  # the bits
    assert np.array_equal(read_image(path)[..., 0], values >> 4)


def _entry(tag, kind, value):
    return b''.join(n.to_bytes(k, 'little') for n, k in ((tag, 2), (kind, 2), (1, 4), (value, 4)))


def test_a_palette_with_transparency_is_read_as_before(tmp_path):
    paletted = Image.fromarray((colour(RAMP) * 255).astype(np.uint8)).quantize(8)
    paletted.save(tmp_path / 'a.png', transparency=bytes([1, 2, 3]))
    expected = np.asarray(paletted.convert('RGB'))[..., ::-1]
    assert np.array_equal(read_image(tmp_path / 'a.png'), expected)
