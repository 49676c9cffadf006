"""Drive Chromium as a user does: drop files, point at pixels, press keys."""

import os
import re
import shutil
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

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
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=HANG)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        yield browser
        browser.close()


class Watch:
    """What a page does that nobody sees.

    Attributes:
        errors: Errors on the console that are not expected, and uncaught exceptions.
        expected: Errors on the console that are.
        requests: Addresses of all requests.
    """

    def __init__(self, page, expected=None):
        self.errors, self.expected, self.requests = [], [], []

        def keep(message):
            if message.type == 'error':
                known = expected and re.search(expected, message.text)
                (self.expected if known else self.errors).append(message.text)

        page.on('console', keep)
        page.on('pageerror', lambda error: self.errors.append(str(error)))
        page.on('request', lambda request: self.requests.append(request.url))

    def segmentations(self):
        """Return the parameters of the segmentations that were asked for."""
        parts = map(urlsplit, self.requests)
        return [parse_qs(part.query) for part in parts if part.path == '/segment']


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


def answer_file_dialogs(page, path):
    """Choose a file whenever the page asks for one."""
    page.on('filechooser', lambda chooser: chooser.set_files(path))
    # Playwright asks for this as well, but does not wait until it holds.
    page.context.new_cdp_session(page).send('Page.setInterceptFileChooserDialog', {'enabled': True})


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
