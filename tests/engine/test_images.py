"""Reading whatever comes, writing so that nothing is lost."""

import os
import resource
import signal

import cv2
import numpy as np
import pytest
from PIL import Image

import helpers
from engine import images
from engine.command import InputError, UserError

PICTURE = helpers.image(24, 40)


def saved(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def test_colour_grey_alpha_and_palette(tmp_path):
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


@pytest.mark.parametrize('ending', ['jpg', 'png', 'webp', 'tiff', 'bmp'])
def test_truncated_files_are_refused(tmp_path, ending):
    """OpenCV alone returns a half grey picture for most of them."""
    whole = saved(tmp_path / f'whole.{ending}', helpers.image(200, 300))
    images.read_image(whole)
    cut = tmp_path / f'cut.{ending}'
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    with pytest.raises(InputError, match=f'cut.{ending}: '):
        images.read_image(cut)


def test_files_that_are_no_images(tmp_path):
    for name, content in (('text.jpg', b'hello'), ('empty.png', b''), ('zeros.png', bytes(5000))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f'{name}: not an image'):
            images.read_image(tmp_path / name)
    with pytest.raises(InputError, match='none.png: cannot be read .No such file'):
        images.read_image(tmp_path / 'none.png')


def test_a_format_that_only_opencv_knows(tmp_path):

    cv2.imwrite(str(tmp_path / 'a.ras'), PICTURE)
    assert np.array_equal(images.read_image(tmp_path / 'a.ras'), PICTURE)


def test_spaces_and_unicode_in_names(tmp_path):
    path = tmp_path / 'Straße nach 東京' / 'a b č.png'
    images.write_image(path, PICTURE)
    assert np.array_equal(images.read_image(path), PICTURE)


def test_a_palette_png_holds_indices_and_shows_colours(tmp_path):
    labels = np.arange(12, dtype=np.uint8).reshape(3, 4) % 5
    palette = [(10 * i, 20 * i, 30 * i) for i in range(5)]
    images.write_palette_png(tmp_path / 'a.png', labels, palette)
    with Image.open(tmp_path / 'a.png') as image:
        assert image.mode == 'P'
        assert np.array_equal(np.asarray(image), labels)
        assert np.array_equal(np.asarray(image.convert('RGB')), np.array(palette)[labels])


def test_a_full_disk_leaves_the_old_file_and_no_rubbish(tmp_path):
    """A limit on the size of files stands for the full disk."""
    target = tmp_path / 'a.png'
    images.write_image(target, PICTURE)
    before = target.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        with pytest.raises(UserError, match='a.png: cannot be written .File too large'):
            images.write_image(target, helpers.image(200, 200))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert target.read_bytes() == before
    assert os.listdir(tmp_path) == ['a.png']


def names(inputs):
    return [str(item.relative) for item in inputs]


@pytest.fixture
def folder(tmp_path):
    for name in ('b.png', 'a.JPG', 'sub/c.jpeg', 'sub/d.mp4', 'notes.txt', 'out/a.jpg'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_means_all_images_and_videos_below(folder):
    found = images.find_inputs([str(folder)], leave_out=folder / 'out')
    assert names(found) == ['a.JPG', 'b.png', 'sub/c.jpeg', 'sub/d.mp4']
    assert [item.is_video for item in found] == [False, False, False, True]


def test_patterns_files_and_repetitions(folder):
    found = images.find_inputs([f'{folder}/*.png', f'{folder}/**/*.jp*g', f'{folder}/b.png'])
    assert names(found) == ['b.png', 'out/a.jpg', 'sub/c.jpeg']
    (folder / '[1].png').touch()
    assert names(images.find_inputs([f'{folder}/[1].png'])) == ['[1].png']


def test_inputs_that_are_not_there(folder):
    for pattern, message in (
        ('none.png', 'no such file or folder'),
        ('*.gif', 'no file matches'),
        ('empty', 'no image or video in this folder'),
    ):
        (folder / 'empty').mkdir(exist_ok=True)
        with pytest.raises(UserError, match=message):
            images.find_inputs([f'{folder}/{pattern}'])


def test_outputs_that_cannot_be_written_are_found_before_the_work(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match='file/a.png: cannot be written'):
        images.check_writable(tmp_path / 'file' / 'a.png')
    images.check_writable(tmp_path / 'new' / 'a.png')
    assert sorted(os.listdir(tmp_path)) == ['file', 'new']
    assert os.listdir(tmp_path / 'new') == []
    for name in ('a.xyz', 'a.mp4', 'a'):
        with pytest.raises(UserError, match='OpenCV writes no'):
            images.check_format(tmp_path / name)
    images.check_format(tmp_path / 'a.webp')


def test_an_image_too_large_for_its_format(tmp_path):
    with pytest.raises(UserError, match='a.jpg'):
        images.write_image(tmp_path / 'a.jpg', np.zeros((1, 70000, 3), np.uint8))
    assert os.listdir(tmp_path) == []
