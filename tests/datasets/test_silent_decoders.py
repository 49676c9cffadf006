"""Decoders of damaged images print nothing of their own."""

from contextlib import suppress

import cv2
import numpy as np

from common.errors import InputError
from datasets import image_files
from datasets.library_settings import silent_opencv
from support import stand_ins


def test_damaged_images_print_nothing(tmp_path, capfd):
    """libjpeg, libpng, libtiff and OpenCV print lines of their own otherwise."""
    image = stand_ins.image(64, 64)
    jpeg = bytearray(cv2.imencode('.jpg', image)[1].tobytes())
    jpeg[-400:-300] = b'\xff\xd7' * 50
    tiff = bytearray(cv2.imencode('.tif', image)[1].tobytes())
    tiff[100:200] = bytes(100)
    grey = bytearray(cv2.imencode('.png', image[..., 0].astype(np.uint16) * 257)[1].tobytes())
    grey[80] ^= 1
    for name, data in (('a.jpg', jpeg), ('a.tif', tiff), ('a.png', grey)):
        (tmp_path / name).write_bytes(data)
        with suppress(InputError):
            image_files.read_image(tmp_path / name)
    with silent_opencv:
        cv2.imdecode(np.frombuffer(grey, np.uint8), cv2.IMREAD_UNCHANGED)
    assert capfd.readouterr() == ('', '')
    cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert 'Corrupt JPEG data' in capfd.readouterr().err
