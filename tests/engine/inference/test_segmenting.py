"""Files become pictures, without a network: colours, memory, and errors of one file."""

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest

import datasets
from common.errors import InputError
from common.inputs import Input
from datasets import colours, image_files
from engine.inference import pictures, planning, segmenting
from engine.inference.settings import LooksSettings
from support import segmentations, stand_ins


def bands(image):
    """Replace a network: class 1 in the upper half, 2 in the lower half."""
    labels = np.ones(image.shape[:2], np.uint8)
    labels[len(labels) // 2 :] = 2
    return segmentations.of_labels(labels, image)


def segmented(path, target, segment_image=bands, **looks):
    """Segment one file; return its class map."""
    item = Input(path, Path(path.name))
    result = segmenting.segment_file(segment_image, item, target, LooksSettings(**looks))
    return result.labels


@pytest.mark.parametrize('height', [1, 63, 64, 200])
def test_pictures_are_coloured_in_bands(tmp_path, height):
    image = stand_ins.image(height, 30)
    image_files.write_image(tmp_path / 'a.png', image)
    labels = segmented(tmp_path / 'a.png', tmp_path / 'b.png', opacity=0.3)
    expected = colours.overlay(image, labels, datasets.info('camvid').palette, 0.3)
    assert np.array_equal(image_files.read_image(tmp_path / 'b.png'), expected)


def test_a_line_precedes_large_images_and_several_files(tmp_path, caplog):
    caplog.set_level('INFO')
    seen = []

    def predict(image):
        seen.append(list(caplog.messages))
        return bands(image)

    for name, size in (('small', (40, 30)), ('large', (600, 500))):
        path = tmp_path / f'{name}.png'
        image_files.write_image(path, stand_ins.image(*size))
        segmented(path, tmp_path / 'b.png', predict)
    assert seen == [[], [f'segmenting {path}, 500x600 pixels']]
    plan = planning.plan_outputs([str(tmp_path)], str(tmp_path / 'out'), LooksSettings())
    segmenting.segment_plan(predict, plan, LooksSettings())
    assert seen[2][-1] == 'segmenting 3 files'


def test_blending_a_large_picture_needs_little_memory(tmp_path):
    """A few times the image's 27 MB; blending it at once would need 432 MB."""
    image_files.write_image(tmp_path / 'a.jpg', np.full((3000, 3000, 3), 99, np.uint8))
    tracemalloc.start()
    try:
        labels = segmented(tmp_path / 'a.jpg', tmp_path / 'b.jpg', save_labels=True)
        assert tracemalloc.get_traced_memory()[1] < 110e6
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        pictures.class_shares(labels, datasets.info('camvid'))
        assert tracemalloc.get_traced_memory()[1] - before < 5e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    'error, message',
    [(MemoryError(), 'a.png: not enough memory to read and colour it; make it smaller'),
     (InputError('not enough memory for 9x9 pixels'), 'a.png: not enough memory for 9x9 pixels')],
)  # fmt: skip
def test_lack_of_memory_is_an_error_of_the_file(tmp_path, error, message):
    def predict(image):
        raise error

    image_files.write_image(tmp_path / 'a.png', stand_ins.image(9, 9))
    with pytest.raises(InputError, match=message):
        segmented(tmp_path / 'a.png', tmp_path / 'b.png', predict)


def test_lack_of_memory_in_opencv_is_an_error_of_the_file(tmp_path):
    def predict(image):
        return cv2.resize(image, (2**31 - 1, 2**31 - 1))

    image_files.write_image(tmp_path / 'a.png', stand_ins.image(9, 9))
    with pytest.raises((InputError, cv2.error)) as caught:
        segmented(tmp_path / 'a.png', tmp_path / 'b.png', predict)
    no_memory = getattr(caught.value.__cause__ or caught.value, 'code', None)
    assert isinstance(caught.value, InputError) == (no_memory == cv2.Error.StsNoMem)
