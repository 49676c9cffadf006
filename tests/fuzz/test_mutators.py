"""Damage changes files in the ways that it says, and equal random numbers give equal damage."""

import io
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from common.reading import yaml_text
from common.reading.yaml_text import YamlError
from fuzz.mutators import containers, generic, pictures, texts
from fuzz.readers.pictures import png

PIXELS = np.arange(12 * 17 * 3, dtype=np.uint8).reshape(12, 17, 3)


@pytest.mark.parametrize('change', dict.fromkeys(generic.ALL))
def test_equal_random_numbers_give_equal_damage(change):
    data = bytes(range(256)) * 4
    results = [change(np.random.default_rng(7), data, [b'other' * 50]) for _ in range(2)]
    assert results[0] == results[1] != data
    assert isinstance(change(np.random.default_rng(7), b'', [b'']), bytes)


def test_one_bit_is_flipped():
    data = bytes(100)
    found = np.frombuffer(generic.flip_bit(np.random.default_rng(0), data, []), np.uint8)
    assert np.unpackbits(found).sum() == 1


@pytest.mark.parametrize('interlaced', [False, True])
@pytest.mark.parametrize('bits', [1, 2, 4, 8])
def test_own_png_files_are_read_by_pillow(bits, interlaced):
    grey = PIXELS[..., 0] % 2**bits
    image = Image.open(io.BytesIO(png(grey, bits, interlaced)))
    assert np.array_equal(np.asarray(image.convert('L')), grey * (255 // (2**bits - 1)))


def test_changed_png_headers_have_right_checksums():
    sizes = set()
    for seed in range(20):
        data = pictures.change_png_header(np.random.default_rng(seed), png(PIXELS, 8), [])
        header = data[12:29]
        assert struct.unpack('>I', data[29:33])[0] == zlib.crc32(header)
        sizes.add(header[4:12])
    assert len(sizes) > 5


def test_rebuilt_zips_are_zips():
    data = containers.zipped([('a', b'1' * 100), ('b', b'2' * 100)])
    changed = [containers.rebuild_zip(np.random.default_rng(seed), data, []) for seed in range(12)]
    assert all(zipfile.is_zipfile(io.BytesIO(each)) for each in changed)
    assert len(set(changed)) > 5


def test_a_yaml_bomb_unfolds_to_more_than_memory_holds():
    bombs = [texts.yaml_bomb(np.random.default_rng(s), b'key: 1\n', []) for s in range(9)]
    assert any(b'*a30' in bomb for bomb in bombs)
    for bomb in bombs:
        with pytest.raises(YamlError, match='bomb.yaml: not valid YAML'):
            yaml_text.parse(bomb.decode(), 'bomb.yaml')
