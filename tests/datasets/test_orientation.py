"""EXIF orientations: applied or ignored alike in every format, and warned of beside labels."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from common import once
from common.errors import InputError
from datasets import orientation, turned
from datasets.dataset import Dataset, Sample
from datasets.image_files import image_size, read_image
from datasets.info import DataError, DatasetInfo
from datasets.keys import ImageReading
from datasets.loading import pack
from datasets.readers.label_files import read_indices
from support.tiff_writer import write_tiff

AS_STORED = ImageReading(exif_orientation='ignore')
TURNED = ImageReading(exif_orientation='apply')
# Black and white, so that lossy formats keep it; all its eight turns differ.
STORED = np.zeros((24, 40, 3), np.uint8)
STORED[:12, :10] = 255


def exif(value):
    """Return EXIF data with an orientation."""
    data = Image.Exif()
    data[0x0112] = value
    return data


@pytest.mark.parametrize('value', range(1, 9))
@pytest.mark.parametrize('ending', ['jpg', 'png', 'webp', 'tiff', 'avif'])
def test_the_key_keeps_the_stored_pixels_of_every_format(tmp_path, ending, value):
    path = tmp_path / f'a.{ending}'
    Image.fromarray(STORED).save(path, exif=exif(value))
    assert np.array_equal(read_image(path, AS_STORED) > 127, STORED > 127)
    assert image_size(path, AS_STORED) == (24, 40)
    assert np.array_equal(read_image(path, TURNED), read_image(path))
    assert image_size(path) == read_image(path).shape[:2]
    assert orientation.of_file(path) == value


@pytest.mark.parametrize('value', range(1, 9))
def test_a_tiff_of_16_bits_is_turned_likewise(tmp_path, value):
    path = write_tiff(tmp_path / 'a.tif', STORED.astype(np.uint16) * 257, value)
    assert np.array_equal(read_image(path), orientation.upright(STORED, value))
    assert np.array_equal(read_image(path, AS_STORED), STORED)
    assert orientation.of_file(path) == value


def test_an_orientation_after_the_pixels_of_a_png_counts(tmp_path):
    path = tmp_path / 'a.png'
    Image.fromarray(STORED).save(path, exif=exif(6))
    data = path.read_bytes()
    start = data.index(b'eXIf') - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], 'big')
    path.write_bytes(data[:start] + data[end:-12] + data[start:end] + data[-12:])
    assert read_image(path).shape == (40, 24, 3)
    assert image_size(path) == (40, 24)
    assert orientation.of_file(path) == 6


@pytest.mark.parametrize(
    'data',
    [b'', b'Exif\0\0', b'Exif\0\0II*\0\xff\xff\xff\xff', exif(0).tobytes(), exif(9).tobytes()],
)
def test_damaged_or_unknown_exif_data_turn_nothing(tmp_path, data):
    path = tmp_path / 'a.jpg'
    Image.fromarray(STORED).save(path, exif=data)
    assert read_image(path).shape == STORED.shape
    assert orientation.of_file(path) == 1


def write_samples(folder, values, reading=None):
    """Return a data set whose images have these orientations; its labels fit the stored pixels."""
    samples = []
    for number, value in enumerate(values):
        image, label = folder / f'{number}.jpg', folder / f'{number}.png'
        Image.fromarray(STORED).save(image, exif=exif(value))
        cv2.imwrite(str(label), STORED[..., 0] // 255)
        samples.append(Sample(str(number), image, label))
    info = DatasetInfo('two', ('a', 'b'), ((0, 0, 0), (9, 9, 9)))
    return Dataset(info, 'train', tuple(samples), read_indices, reading or ImageReading())


def test_turned_images_beside_labels_are_counted_in_one_warning(tmp_path, caplog):
    once.reset()
    dataset = write_samples(tmp_path, (1, 3, 1, 2))
    for _ in range(2):
        turned.warn([(dataset, turned.turned_images(dataset, range(4)))])
    (line,) = caplog.messages
    assert line.startswith('2 of 4 images have an EXIF orientation other than 1')
    assert f'the first is {dataset[1].image} (3: stored upside down)' in line
    assert '--set exif_orientation=ignore;' in line
    for known in (AS_STORED, TURNED):  # the user has said which is meant
        assert turned.turned_images(replace(dataset, reading=known), range(4)) == []


def test_sizes_that_differ_by_the_orientation_name_the_key(tmp_path):
    dataset = write_samples(tmp_path, (6,))
    with pytest.raises(
        InputError, match='its EXIF orientation 6 turns .* exif_orientation: ignore'
    ):
        dataset.pair(0)
    image, label = replace(dataset, reading=AS_STORED).pair(0)
    assert np.array_equal(image[..., 0] > 127, label > 0)
    cv2.imwrite(str(dataset[0].label), np.zeros((40, 24), np.uint8))
    with pytest.raises(InputError, match='ignore keeps the image as stored, .*: omit the key|omit'):
        replace(dataset, reading=AS_STORED).pair(0)
    cv2.imwrite(str(dataset[0].label), np.zeros((40, 25), np.uint8))
    with pytest.raises(InputError, match='they do not belong together'):
        dataset.pair(0)


def test_packed_data_keep_how_they_were_read(tmp_path):
    dataset = write_samples(tmp_path, (6, 3), AS_STORED)
    packed = pack.pack(dataset, tmp_path / 'packed')
    assert packed.reading == AS_STORED
    assert np.array_equal(packed.image(0), dataset.image(0))
    assert turned.turned_images(replace(packed, reading=ImageReading()), range(2)) == []
    packed.require(ImageReading())
    with pytest.raises(DataError, match='packed: packed with exif_orientation ignore, not apply'):
        packed.require(TURNED)
