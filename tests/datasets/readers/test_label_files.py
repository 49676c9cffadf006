"""Label files: only unambiguous class indices or colours are read."""

import zlib

import numpy as np
import pytest
from PIL import Image

import datasets
from common.errors import InputError
from datasets.readers import label_files

VALUES = (np.arange(240, dtype=np.uint8) % 7).reshape(12, 20)


def saved(path, array, mode=None, palette=None):
    image = Image.fromarray(array, mode)
    if palette is not None:
        image.putpalette(np.array(palette, np.uint8).ravel().tolist())
    image.save(path)
    return path


def test_grey_and_palette_files_yield_their_values(tmp_path):
    palette = [(10 * i, 0, 5) for i in range(7)]
    for path in (
        saved(tmp_path / 'l.png', VALUES),
        saved(tmp_path / 'p.png', VALUES, 'P', palette),
    ):
        assert np.array_equal(label_files.read_indices(path), VALUES)


def test_a_palette_of_few_bits_yields_its_indices(tmp_path):
    image = Image.fromarray(VALUES, 'P')
    image.putpalette([0, 0, 0, 128, 0, 0] * 8)
    image.save(tmp_path / 'p.png', bits=4)
    assert (tmp_path / 'p.png').read_bytes()[24] == 4
    assert np.array_equal(label_files.read_indices(tmp_path / 'p.png'), VALUES)


@pytest.mark.parametrize(
    'array, problem',
    [
        (np.zeros((4, 4, 3), np.uint8), 'a colour image, but class indices are expected'),
        (np.zeros((4, 4, 4), np.uint8), 'a colour image, but class indices are expected'),
        (np.full((4, 4), 26001, np.uint16), 'instance ids'),
        (np.zeros((4, 4), bool), '1-bit grey, but label files must have 8'),  # decoders scale it
    ],
)
def test_other_pixel_formats_are_refused_as_class_indices(tmp_path, array, problem):
    path = saved(tmp_path / 'a.png', array)
    with pytest.raises(InputError, match=f'a.png: .*{problem}'):
        label_files.read_indices(path)


def test_lossy_and_damaged_files_are_refused(tmp_path):
    saved(tmp_path / 'a.jpg', VALUES)
    with pytest.raises(InputError, match='a.jpg: JPEG, but a label file must be PNG'):
        label_files.read_indices(tmp_path / 'a.jpg')
    noise = np.random.RandomState(0).randint(0, 7, (90, 90)).astype(np.uint8)
    whole = saved(tmp_path / 'b.png', noise).read_bytes()
    for name, data in (('cut.png', whole[: len(whole) // 2]), ('text.png', b'hello')):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match=f'{name}: (damaged or truncated|not an image)'):
            label_files.read_indices(tmp_path / name)
    with pytest.raises(InputError, match='none.png: cannot be read .No such file'):
        label_files.read_indices(tmp_path / 'none.png')
    gamma = b'gAMA\0'  # three bytes are missing, and the checksum is right
    chunk = b'\0\0\0\1' + gamma + zlib.crc32(gamma).to_bytes(4, 'big')
    (tmp_path / 'c.png').write_bytes(whole[:33] + chunk + whole[33:])
    with pytest.raises(InputError, match=r'c.png: damaged or truncated \(its header is invalid'):
        label_files.read_indices(tmp_path / 'c.png')


def test_a_palette_in_another_order_is_refused(tmp_path):
    """A paint program numbers the colours of coloured labels by first occurrence."""
    palette = datasets.info('voc').palette
    right = saved(tmp_path / 'right.png', VALUES, 'P', palette)
    assert np.array_equal(label_files.read_indices(right, palette), VALUES)
    wrong = saved(tmp_path / 'wrong.png', VALUES, 'P', palette[::-1])
    with pytest.raises(InputError, match='wrong.png: its palette gives index 0 .* class 20'):
        label_files.read_indices(wrong, palette)


def test_values_without_a_class_are_reported(tmp_path):
    table = label_files.values_table({0: 255, 1: 0, 2: 1})
    values = np.array([[0, 1], [2, 2]], np.uint8)
    assert label_files.translate(values, table, tmp_path).tolist() == [[255, 0], [1, 1]]
    with pytest.raises(InputError, match='the values 3, 9, which have no meaning'):
        label_files.translate(np.array([[9, 3]], np.uint8), table, tmp_path)


def test_colours_are_translated_as_by_a_dictionary(tmp_path):
    rng = np.random.RandomState(0)
    meanings = {tuple(colour): int(i) for i, colour in enumerate(rng.randint(0, 256, (33, 3)))}
    colours = np.array(list(meanings), np.uint8)[rng.randint(0, 33, (15, 11))]
    found = label_files.indices_of_colours(colours, meanings, tmp_path)
    for row, column in np.ndindex(15, 11):
        assert found[row, column] == meanings[tuple(colours[row, column])]


def test_an_unknown_colour_is_reported_with_its_position(tmp_path):
    image = np.zeros((3, 4, 3), np.uint8)
    image[2, 1] = 255, 254, 253
    with pytest.raises(InputError, match=r'a.png: the colour \(255, 254, 253\) at row 2, column 1'):
        label_files.indices_of_colours(image, {(0, 0, 0): 0, (1, 1, 1): 1}, tmp_path / 'a.png')


def test_grey_values_are_refused_as_colours(tmp_path):
    with pytest.raises(InputError, match='grey values, but colours are expected'):
        label_files.read_colours(saved(tmp_path / 'a.png', VALUES))
