"""Settings of OpenCV and Pillow: threads share and restore them."""

import threading

import cv2
import numpy as np
import pytest
from PIL import Image

from datasets import image_files, orientation
from datasets.readers import label_files
from support import stand_ins


@pytest.mark.filterwarnings('error')
def test_threads_read_large_images_side_by_side(tmp_path, monkeypatch):
    """Pillow's limit is lowered to thousands of pixels; the file has more than twice as many."""
    path = tmp_path / 'a.jpg'
    path.write_bytes(cv2.imencode('.jpg', stand_ins.image(60, 120))[1].tobytes())
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 3000)
    level, expected = cv2.getLogLevel(), image_files.read_image(path)
    problems = []

    def read():
        try:
            for _ in range(50):
                assert (image_files.read_image(path) == expected).all()
                assert image_files.image_size(path) == (60, 120)
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert (cv2.getLogLevel(), Image.MAX_IMAGE_PIXELS) == (level, 3000)


@pytest.mark.filterwarnings('error')
def test_large_masks_and_the_orientation_of_large_images_are_read(tmp_path, monkeypatch):
    mask, photo = tmp_path / 'mask.png', tmp_path / 'photo.jpg'
    Image.fromarray(np.ones((60, 120), np.uint8)).save(mask)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stand_ins.image(60, 120)).save(photo, exif=exif)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 3000)
    assert label_files.read_indices(mask).shape == (60, 120)
    assert orientation.of_file(photo) == 6
