"""Damaged files: whatever a decoder raises is an error of the file, and the others are done."""

import warnings
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from common.errors import InputError
from common.inputs import Input
from datasets import image_files, png_chunks
from datasets.decoding import decoding
from datasets.preparation.check import check_split
from engine.inference import segmenting
from engine.inference.planning import OutputPlan
from engine.inference.settings import LooksSettings
from support import segmentations, stand_ins
from support.numbered_dataset import write_dataset


def damaged(folder):
    """Write formats whose decoders raise unusual exceptions, under the endings of others."""
    picture = Image.fromarray(stand_ins.image(64, 48))
    paths = [folder / 'avif.jpg', folder / 'webp.png']
    picture.save(paths[0], format='AVIF')
    head, mark, pixels = paths[0].read_bytes().partition(b'mdat')
    paths[0].write_bytes(head + mark + b'\xff' * 64 + pixels[64:])  # RuntimeError
    picture.save(paths[1], format='WEBP')
    paths[1].write_bytes(paths[1].read_bytes()[:600])
    return paths


def test_a_folder_is_finished_although_decoders_fail(tmp_path, capsys):
    paths = damaged(tmp_path)
    image_files.write_image(tmp_path / 'z.png', stand_ins.image(20, 30))
    paths.append(tmp_path / 'z.png')
    for path in paths[:-1]:
        with pytest.raises(InputError, match=f'{path.name}: damaged or truncated'):
            image_files.read_image(path)
    out = tmp_path / 'out'
    pairs = [(Input(path, path), out / f'{path.name}.jpg') for path in paths]
    status = segmenting.segment_plan(
        lambda image: segmentations.of_labels(np.zeros(image.shape[:2], np.uint8), image),
        OutputPlan(pairs, out, []),
        LooksSettings(),
    )
    lines = capsys.readouterr()
    assert status == 1
    assert [p.name for p in out.iterdir()] == ['z.png.jpg']
    assert [line.startswith('error: ') for line in lines.err.splitlines()] == [True] * 2
    assert '1 of 3 files written' in lines.out


ERRORS = [
    IndexError('index out of range'),
    RuntimeError('Failed to decode frame 0'),
    MemoryError(),
    UserWarning('Truncated File Read'),
    cv2.error('broken'),
    KeyError(3),
]


@pytest.mark.parametrize('error', ERRORS, ids=lambda error: type(error).__name__)
def test_every_exception_of_a_decoder_is_an_error_of_the_file(tmp_path, monkeypatch, error):
    """Of images, sizes and labels; a check of the split goes on."""

    def fails(*arguments, **options):
        raise error

    # OpenCV keeps the code of its last error, of whichever test, in the class.
    monkeypatch.setattr(cv2.error, 'code', cv2.Error.StsError, raising=False)
    dataset = write_dataset(tmp_path, 2)
    expected = 'not enough memory' if isinstance(error, MemoryError) else 'damaged or truncated'
    with monkeypatch.context() as patches:
        patches.setattr(png_chunks.pyspng, 'load', fails)
        with pytest.raises(InputError, match=f'image0.png: {expected}') as raised:
            dataset.image(0)
    assert '\n' not in str(raised.value)
    with monkeypatch.context() as patches:
        patches.setattr(png_chunks, 'check', fails)
        with pytest.raises(InputError, match=f'image0.png: {expected}'):
            dataset.size(0)
    with monkeypatch.context() as patches:
        patches.setattr(image_files, '_read_bytes', fails)
        with pytest.raises(InputError, match=f'image1.png: {expected}'):
            dataset.image(1)
    broken = replace(dataset, decode=fails)
    with pytest.raises(InputError, match=f'label1.png: {expected}'):
        broken.label(1)
    report = check_split(broken)
    assert [problem.kind for problem in report.problems] == ['label', 'label']


def test_errors_of_opencv_are_told_without_their_place(tmp_path):
    with pytest.raises(InputError) as error, decoding(tmp_path / 'a.png'):
        cv2.cvtColor(np.zeros((2, 2), np.uint8), cv2.COLOR_BGR2GRAY)
    assert str(error.value).endswith('a.png: damaged or truncated (Bad number of channels)')


def test_warnings_that_are_errors_are_errors_of_the_file(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with (
            pytest.raises(InputError, match='a.png: damaged or truncated .odd'),
            decoding(tmp_path / 'a.png'),
        ):
            warnings.warn('odd', stacklevel=1)
