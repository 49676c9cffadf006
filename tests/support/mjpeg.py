"""Answers of a camera that sends JPEG images over HTTP, for support.raw_server.RawServer."""

import time

import cv2
import numpy as np

from support import raw_server

TYPE = 'Content-Type: multipart/x-mixed-replace; boundary=frame'
HEAD = raw_server.answer(b'', TYPE, length=None)


def jpeg(grey, size=(48, 64)):
    """Return the bytes of a JPEG image of one grey value."""
    return cv2.imencode('.jpg', np.full((*size, 3), grey, np.uint8))[1].tobytes()


def part(image):
    """Return an image as one part of the answer."""
    head = f'--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(image)}\r\n\r\n'
    return head.encode() + image + b'\r\n'


def stream(count, then=lambda: (), size=(48, 64), seconds=0.0):
    """Return a function that yields an answer: images with the grey values 0, 1, ...

    Args:
        count: Number of images.
        then: Yields what follows them.
        size: Height and width of the images.
        seconds: Time after each image.
    """

    def answer():
        yield HEAD
        for grey in range(count):
            yield part(jpeg(grey, size))
            time.sleep(seconds)
        yield from then()

    return answer
