"""Drive Chromium as a user does: drop files, point at pixels, press keys."""

import os
import shutil
from contextlib import contextmanager

import cv2
import numpy as np
import pytest

OPTIONS = (
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
)  # fmt: skip
HANG = 60_000  # milliseconds


@contextmanager
def chromium():
    """Start a browser with a new profile; without Chromium tests are skipped, and fail under CI."""
    program = shutil.which('chromium')
    if program is None:
        if os.environ.get('CI'):
            pytest.fail('chromium is missing: apt-get install chromium')
        pytest.skip('needs chromium: apt-get install chromium')
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        yield browser
        browser.close()


class Watch:
    """What a page does that nobody sees.

    Attributes:
        errors: Errors on the console and uncaught exceptions.
        requests: Addresses of all requests.
    """

    def __init__(self, page):
        self.errors, self.requests = [], []
        page.on('console', lambda m: self.errors.append(m.text) if m.type == 'error' else None)
        page.on('pageerror', lambda error: self.errors.append(str(error)))
        page.on('request', lambda request: self.requests.append(request.url))

    def posts(self):
        """Return the addresses of the segmentations that were asked for."""
        return [url for url in self.requests if '/segment?' in url]


def drop(page, *paths):
    """Drop files on the middle of the window, as the browser receives them from the desktop."""
    session = page.context.new_cdp_session(page)
    size = page.viewport_size
    for kind in ('dragEnter', 'dragOver', 'drop'):
        session.send(
            'Input.dispatchDragEvent',
            {
                'type': kind,
                'x': size['width'] / 2,
                'y': size['height'] / 2,
                'data': {'items': [], 'files': [str(p) for p in paths], 'dragOperationsMask': 1},
            },
        )


def point(page, stage, x, y, size):
    """Move the mouse to the middle of a pixel of a picture of ``size`` (height, width)."""
    box = page.locator(stage).bounding_box()
    height, width = size
    page.mouse.move(
        box['x'] + (x + 0.5) / width * box['width'], box['y'] + (y + 0.5) / height * box['height']
    )


def screenshot(locator):
    """Return what is seen of an element, (H, W, 3) uint8, BGR."""
    return cv2.imdecode(np.frombuffer(locator.screenshot(), np.uint8), cv2.IMREAD_COLOR)


def canvas_pixels(page):
    """Return the pixels of the canvas over the picture, (H, W, 4) uint8, RGBA."""
    width, height, text = page.evaluate(
        """() => {
            const { width, height } = canvas;
            const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
            let text = '';
            for (let i = 0; i < data.length; i += 4096) {
                text += String.fromCharCode(...data.subarray(i, i + 4096));
            }
            return [width, height, text];
        }"""
    )
    return np.frombuffer(text.encode('latin-1'), np.uint8).reshape(height, width, 4)


def saved(page, button, folder):
    """Press a button that saves a file, and return the file's path in a folder."""
    with page.expect_download() as waiting:
        page.get_by_role('button', name=button, exact=True).click()
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path
