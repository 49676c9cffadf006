"""Formats by content: nine are decoded, whatever the ending, and no other one reaches a library."""

import io
import os
import threading

import cv2
import numpy as np
import pytest
from PIL import Image

from common import inputs
from common.errors import InputError
from datasets import formats, image_files, orientation
from datasets.readers import label_files
from support import stand_ins

PICTURE = stand_ins.image(40, 56)
PNM = {
    b'P1 3 1 1 0 1\n': [0, 255, 0],
    b'P2 3 1 255 7 8 9\n': [7, 8, 9],
    b'P4\n# comment\n3 1\n\xa0': [0, 255, 0],
    b'P5\t3 1 255\n\7\10\11': [7, 8, 9],
}


def saved(name, **options):
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, name, **options)
    return file.getvalue()


def test_the_content_decides_whatever_the_ending(tmp_path):
    path = tmp_path / 'a.txt'
    for name in formats.NAMES:
        path.write_bytes(saved(name))
        assert formats.format_of(path.read_bytes()) == name
        assert image_files.read_image(path).shape == (40, 56, 3)
        assert image_files.image_size(path) == (40, 56)
    for data in (saved('JPEG2000', no_jp2=True), saved('TIFF', big_tiff=True), saved('MPO')):
        path.write_bytes(data)
        assert image_files.read_image(path).shape == (40, 56, 3)
    for data, values in PNM.items():
        path.write_bytes(data)
        assert image_files.read_image(path)[0, :, 1].tolist() == values


EPS = b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n(/tmp/x) (w) file\nshowpage\n'
OTHERS = {
    'eps.jpg': EPS,
    'dos_eps.tif': b'\xc5\xd0\xd3\xc6' + (30).to_bytes(4, 'little') + bytes(22) + EPS,
    'pfm.ppm': b'PF 1 1 -1\n' + bytes(12),
    'pam.ppm': b'P7\nWIDTH 1\nHEIGHT 1\nDEPTH 3\nMAXVAL 255\nENDHDR\n' + bytes(3),
    'heic.avif': b'\0\0\0\x18ftypmif1\0\0\0\0mif1heic',
    'text.png': b'hello',
    'empty.png': b'',
    'p6.ppm': b'P6',
    **{f'{name}.png': saved(name) for name in ('QOI', 'ICO', 'TGA', 'SGI', 'PCX', 'IM', 'DDS')},
}


@pytest.mark.parametrize('name', OTHERS)
def test_other_formats_are_refused_before_a_library_sees_them(tmp_path, monkeypatch, name):
    """Pillow starts Ghostscript for PostScript."""

    def decoded(*arguments, **options):
        raise AssertionError('a library was called')

    path = tmp_path / name
    path.write_bytes(OTHERS[name])
    monkeypatch.setattr(Image, 'open', decoded)
    monkeypatch.setattr(cv2, 'imdecode', decoded)
    for read in (image_files.read_image, image_files.image_size):
        with pytest.raises(
            InputError, match=f'{name}: not an image, .* JPEG, PNG, .*JPEG 2000'
        ) as e:
            read(path)
        assert '\n' not in str(e.value)
    with pytest.raises(InputError, match=f'{name}: not an image; a label file must be PNG'):
        label_files.read_indices(path)
    assert orientation.of_file(path) == orientation.UPRIGHT


@pytest.mark.parametrize('ending', ['.hdr', '.ras', '.exr', '.sr'])
def test_images_that_only_opencv_decodes_are_refused(tmp_path, ending):
    if ending == '.exr':
        (tmp_path / 'a.exr').write_bytes(b'\x76\x2f\x31\x01' + bytes(60))
    else:
        cv2.imwrite(str(tmp_path / f'a{ending}'), PICTURE)
    assert ending not in inputs.IMAGE_SUFFIXES
    with pytest.raises(InputError, match=f'a{ending}: not an image'):
        image_files.read_image(tmp_path / f'a{ending}')


def test_pipes_are_read_and_endless_files_of_no_format_are_refused(tmp_path):
    path, data = tmp_path / 'pipe.png', cv2.imencode('.png', stand_ins.image(60, 90))[1].tobytes()
    assert len(data) > formats.HEAD_BYTES
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(data,))
    writer.start()
    assert np.array_equal(image_files.read_image(path), stand_ins.image(60, 90))
    writer.join()
    with pytest.raises(InputError, match='/dev/zero: not an image'):
        image_files.read_image(type(path)('/dev/zero'))
