"""Image files: every common format is read, damage is detected, and writing is atomic."""

import os
import struct
from zlib import compress, crc32

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from common import inputs
from common.errors import InputError, UserError
from datasets import image_files as images
from datasets.formats import UnknownFormatError
from datasets.keys import ImageReading
from datasets.pixel_limit import TooManyPixelsError
from support import programs, stand_ins

PICTURE = stand_ins.image(24, 40)


def saved(path, array, **options):
    """Write an image with Pillow and return its path."""
    Image.fromarray(array).save(path, **options)
    return path


def test_colour_grey_alpha_and_palette_images_become_bgr(tmp_path):
    rgb = PICTURE[..., ::-1].copy()
    assert np.array_equal(images.read_image(saved(tmp_path / 'a.png', rgb)), PICTURE)
    grey = images.read_image(saved(tmp_path / 'g.png', rgb[..., 0].copy()))
    assert np.array_equal(grey, rgb[..., :1].repeat(3, 2))
    alpha = np.dstack((rgb, np.full(rgb.shape[:2], 7, np.uint8)))
    assert np.array_equal(images.read_image(saved(tmp_path / 'rgba.png', alpha)), PICTURE)
    paletted = Image.fromarray(rgb).quantize(17)
    paletted.save(tmp_path / 'p.png')
    expected = np.asarray(paletted.convert('RGB'))[..., ::-1]
    assert np.array_equal(images.read_image(tmp_path / 'p.png'), expected)


@pytest.mark.parametrize('ending', ['png', 'tiff'])
@pytest.mark.parametrize('channels', [1, 3])
def test_16_bits_become_8(tmp_path, ending, channels):
    deep = (PICTURE[..., :channels].astype(np.uint16) << 8) + 200
    cv2.imwrite(str(tmp_path / f'a.{ending}'), deep)
    read = images.read_image(tmp_path / f'a.{ending}')
    assert read.dtype == np.uint8
    assert read.shape == (24, 40, 3)
    assert abs(read.astype(int) - PICTURE[..., :channels]).max() <= 1


def test_an_exif_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn clockwise by 90 degrees
    rgb = cv2.resize(PICTURE, (320, 192))[..., ::-1].copy()
    upright = images.read_image(saved(tmp_path / 'a.jpg', rgb, exif=exif, quality=100))
    expected = np.rot90(rgb[..., ::-1], -1)
    assert upright.shape == (320, 192, 3)
    assert abs(upright.astype(int) - expected).mean() < 5


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('ending', ['jpg', 'png', 'webp', 'tiff', 'avif'])
def test_every_exif_orientation_is_applied_once(tmp_path, ending, orientation):
    """Compare with Pillow; the white quarter of a black picture shows the rotation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    rgb = np.zeros((24, 40, 3), np.uint8)
    rgb[:12, :20] = 255
    path = saved(tmp_path / f'a.{ending}', rgb, exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert('L')) > 127
    read = images.read_image(path)
    assert read.flags.c_contiguous
    assert np.array_equal(read[..., 1] > 127, expected)
    assert images.image_size(path) == read.shape[:2] == expected.shape


def test_formats_that_opencv_does_not_support_are_read(tmp_path, capfd):
    """The result is the first image of an animation, without a palette."""
    rgb = np.zeros((24, 40, 3), np.uint8)
    rgb[:12], rgb[12:] = (200, 30, 60), (10, 20, 250)
    frames = [Image.fromarray(each) for each in (rgb, 255 - rgb)]
    frames[0].save(tmp_path / 'a.gif', save_all=True, append_images=frames[1:])
    assert np.array_equal(images.read_image(tmp_path / 'a.gif'), rgb[..., ::-1])
    frames[0].save(tmp_path / 'a.avif', quality=100, save_all=True, append_images=frames[1:])
    read = images.read_image(tmp_path / 'a.avif').astype(int)
    assert abs(read - rgb[..., ::-1]).mean() < 6
    alpha = np.dstack((rgb, np.full(rgb.shape[:2], 7, np.uint8)))
    Image.fromarray(alpha).save(tmp_path / 'b.avif', quality=100)
    assert images.read_image(tmp_path / 'b.avif').shape == (24, 40, 3)
    cut = tmp_path / 'cut.avif'
    cut.write_bytes((tmp_path / 'a.avif').read_bytes()[:-20])
    with pytest.raises(InputError, match='cut.avif: '):
        images.read_image(cut)
    assert capfd.readouterr().err == ''


@pytest.mark.parametrize('ending', inputs.IMAGE_SUFFIXES)
def test_every_extension_of_image_inputs_can_be_read(tmp_path, ending):
    """OpenCV writes the file, or Pillow if OpenCV cannot."""
    path = tmp_path / f'a{ending}'
    picture = cv2.resize(PICTURE, (320, 192))
    try:
        grey = ending in ('.pgm', '.pbm')
        cv2.imwrite(str(path), picture[..., 0] if grey else picture)
    except cv2.error:
        Image.fromarray(picture).save(path)
    assert images.read_image(path).shape == (192, 320, 3)


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('most', [2000, 4000])
def test_large_images_are_read_and_checked(tmp_path, monkeypatch, most):
    """Pillow's limits, 89 megapixels for a warning and twice as many for an error, do not apply.

    Here they are lowered to thousands of pixels.
    """
    whole = saved(tmp_path / 'whole.jpg', stand_ins.image(40, 120))
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', most)
    assert images.image_size(whole) == images.read_image(whole).shape[:2] == (40, 120)
    cut = tmp_path / 'cut.jpg'
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(InputError, match='cut.jpg: damaged or truncated'):
        images.read_image(cut)
    assert most == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize('ending', ['jpg', 'png', 'webp', 'tiff', 'bmp', 'jp2', 'gif', 'ppm'])
def test_truncated_files_are_refused(tmp_path, ending):
    """OpenCV alone returns a half grey picture for most formats."""
    whole = saved(tmp_path / f'whole.{ending}', stand_ins.image(200, 300))
    images.read_image(whole)
    cut = tmp_path / f'cut.{ending}'
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    with pytest.raises(InputError, match=f'cut.{ending}: '):
        images.read_image(cut)


def png(image, filter_type, extra=()):
    """Return a PNG of an RGB image, with one filter for all rows and extra chunks."""

    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', crc32(kind + data))

    height, width = image.shape[:2]
    x = image.reshape(height, -1).astype(int)
    left, above = np.pad(x, ((0, 0), (3, 0)))[:, :-3], np.pad(x, ((1, 0), (0, 0)))[:-1]
    corner = np.pad(left, ((1, 0), (0, 0)))[:-1]
    estimate = left + above - corner
    distances = abs(np.stack([left, above, corner]) - estimate)
    paeth = np.choose(distances.argmin(0), [left, above, corner])
    rows = x - [0 * x, left, above, (left + above) // 2, paeth][filter_type]
    data = np.insert(rows % 256, 0, filter_type, axis=1).astype(np.uint8).tobytes()
    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    chunks = [(b'IHDR', header), *extra, (b'IDAT', compress(data)), (b'IEND', b'')]
    return b'\x89PNG\r\n\x1a\n' + b''.join(chunk(*each) for each in chunks)


@pytest.mark.parametrize('filter_type', range(5))
def test_plain_png_files_with_every_filter_are_read(tmp_path, filter_type):
    """Compare with the encoder above and with OpenCV."""
    path = tmp_path / 'a.png'
    path.write_bytes(png(PICTURE[..., ::-1], filter_type))
    assert np.array_equal(images.read_image(path), PICTURE)
    assert np.array_equal(cv2.imread(str(path)), PICTURE)


def test_png_files_with_a_rotation_or_transparency_are_read_as_by_opencv(tmp_path):
    """Other PNG files are decoded by libspng."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind, data in ((b'eXIf', exif.tobytes()[6:]), (b'tRNS', bytes(6)), (b'gAMA', bytes(4))):
        path = tmp_path / f'{kind.decode()}.png'
        path.write_bytes(png(PICTURE[..., ::-1], 1, [(kind, data)]))
        image = images.read_image(path)
        assert np.array_equal(image, cv2.imread(str(path)))
        assert images.image_size(path) == image.shape[:2]


def test_changed_bytes_of_a_png_are_detected(tmp_path):
    whole = png(PICTURE[..., ::-1], 4)
    path = tmp_path / 'changed.png'
    for position in (40, len(whole) // 2, len(whole) - 20, len(whole) - 2):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
        with pytest.raises(InputError, match='changed.png: damaged'):
            images.read_image(path)
    path.write_bytes(whole[:-12])  # without the IEND chunk
    with pytest.raises(InputError, match='changed.png: damaged'):
        images.read_image(path)


def test_sizes_are_those_of_the_decoded_images(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    rgb = PICTURE[..., ::-1].copy()
    upright = saved(tmp_path / 'a.jpg', rgb, exif=exif)
    assert images.image_size(upright) == images.read_image(upright).shape[:2] == (40, 24)
    with pytest.raises(InputError, match='none.png: cannot be read'):
        images.image_size(tmp_path / 'none.png')


def test_other_files_are_refused_as_images(tmp_path):
    for name, content in (('text.jpg', b'hello'), ('empty.png', b''), ('zeros.png', bytes(5000))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f'{name}: not an image'):
            images.read_image(tmp_path / name)
    with pytest.raises(InputError, match='none.png: cannot be read .No such file'):
        images.read_image(tmp_path / 'none.png')


def test_file_names_may_contain_spaces_and_unicode(tmp_path):
    path = tmp_path / 'Straße nach 東京' / 'a b č.png'
    images.write_image(path, PICTURE)
    assert np.array_equal(images.read_image(path), PICTURE)


def test_a_palette_png_contains_indices_and_shows_colours(tmp_path):
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4) % 5
    palette = [(10 * i, 20 * i, 30 * i) for i in range(5)]
    images.write_palette_png(tmp_path / 'a.png', labels, palette)
    with Image.open(tmp_path / 'a.png') as image:
        assert image.mode == 'P'
        assert np.array_equal(np.asarray(image), labels)
        assert np.array_equal(np.asarray(image.convert('RGB')), np.array(palette)[labels])


def test_a_full_disk_keeps_the_old_file_and_no_partial_one(tmp_path):
    target = tmp_path / 'a.png'
    images.write_image(target, PICTURE)
    before = target.read_bytes()
    with (
        programs.full_disk(1000),
        pytest.raises(UserError, match='a.png: cannot be written .File too large'),
    ):
        images.write_image(target, stand_ins.image(200, 200))
    assert target.read_bytes() == before
    assert os.listdir(tmp_path) == ['a.png']


def test_extensions_without_a_colour_format_are_refused(tmp_path, capfd):
    for name in ('a.xyz', 'a.mp4', 'a', 'a.exr', 'a.pgm', 'a.pbm', 'a.gif'):
        with pytest.raises(UserError, match='OpenCV writes no .* in colour; end the name in'):
            images.check_format(tmp_path / name)
    for ending in ('webp', 'JPG', 'jp2', 'ppm', 'tif', 'bmp'):
        images.check_format(tmp_path / f'a.{ending}')
    assert capfd.readouterr().err == ''


def test_an_image_too_large_for_its_format_is_refused(tmp_path, capfd):
    """The message is the only output; OpenCV prints nothing."""
    with pytest.raises(InputError, match='a.jpg: .jpg cannot hold 70000x1 pixels'):
        images.write_image(tmp_path / 'a.jpg', np.zeros((1, 70000, 3), np.uint8))
    assert os.listdir(tmp_path) == []
    assert capfd.readouterr().err == ''


@pytest.mark.parametrize('ending', ['.png', '.jpg', '.bmp', '.ppm', '.webp', '.tiff'])
def test_bytes_in_memory_are_decoded_as_files(tmp_path, ending):
    path = tmp_path / f'a{ending}'
    images.write_image(path, PICTURE)
    data = path.read_bytes()
    assert images.encode_image(ending, PICTURE) == data
    assert np.array_equal(images.decode_image(data, 'upload'), images.read_image(path))
    with pytest.raises(InputError, match='upload: damaged'):
        images.decode_image(data[: len(data) // 2], 'upload')


def test_the_kinds_of_faults_of_bytes_can_be_told_apart():
    with pytest.raises(UnknownFormatError, match='upload: not an image'):
        images.decode_image(b'%PDF-1.7', 'upload')
    data = images.encode_image('.png', PICTURE)
    height, width = PICTURE.shape[:2]
    with pytest.raises(TooManyPixelsError, match=f'upload: {width}x{height} pixels'):
        images.decode_image(data, 'upload', ImageReading(max_pixels=height * width - 1))
