"""The page as tests use it: what they show it, and what they read from it."""

import base64
from contextlib import contextmanager
from urllib.parse import urlsplit

import numpy as np

from engine.inference.settings import ProtocolSettings
from support import browsers
from support.programs import PROJECT

PHOTO = PROJECT / 'resources' / 'street.jpg'
CONFIG = 'configs/D3Net_T_camvid.yaml'
SCALE = 0.3  # of the network's view: quick to compile and to compute
PROTOCOL = ProtocolSettings(scales=(SCALE,))
MAX_BYTES, MAX_PIXELS = 400_000, 500_000
LOADING_FAILED = 'Failed to load resource'  # Chromium's own line about an answer that is an error


@contextmanager
def visits(browser, server):
    """Yield a function that opens the page; at the end, nothing went wrong unseen.

    No other host than the server's was asked, and nothing is computed any more.
    """
    host = f'127.0.0.1:{server.port}'
    contexts = []

    def open_page(script='', expected_errors=None, **settings):
        context = browser.new_context(**{'viewport': {'width': 1280, 'height': 860}, **settings})
        context.set_default_timeout(browsers.HANG)
        page = context.new_page()
        contexts.append((context, watch := browsers.Watch(page, expected_errors)))
        page.add_init_script(script)
        page.goto(f'http://{host}/')
        page.wait_for_selector('#model:enabled')
        return page, watch

    yield open_page
    try:
        for context, watch in contexts:
            assert watch.errors == []
            asked = {urlsplit(url).netloc for url in watch.requests if url.startswith('http')}
            assert asked == {host}
            assert context.cookies() == []
    finally:
        for context, _ in contexts:
            context.close()
        server.wait_for_workers()


def wait_for(page, state, picture=1):
    """Wait until a picture of the strip has a state."""
    page.wait_for_selector(f'#pictures li:nth-child({picture})[data-state={state}]')


def segmented(page, *files):
    """Choose files and wait until the first one is shown with its classes."""
    page.set_input_files('#files', files)
    wait_for(page, 'done')
    page.wait_for_selector('#legend .class')


def read_out(page):
    """Return class, confidence and place of the pixel under the crosshair, as the page has them."""
    return [page.inner_text(f'#pixel-{part}') for part in ('class', 'confidence', 'place')]


def expected_read_out(result, x, y):
    """Return what ``read_out`` returns for a result of Python."""
    share = 100 * np.rint(255 * result.confidence[y, x]) / 255
    percent = f'{share:.0f} %' if share >= 9.95 else f'{share:.1f} %'
    return [result.classes[result.labels[y, x]], percent, f'x {x}, y {y}']


def canvas_pixels(page):
    """Return the pixels of the canvas over the picture, (H, W, 4) uint8, RGBA."""
    width, height, address = page.evaluate(
        """async () => {
            const { width, height } = canvas;
            const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
            const reader = new FileReader();
            await new Promise((done) => {
                reader.onload = done;
                reader.readAsDataURL(new Blob([data]));
            });
            return [width, height, reader.result];
        }"""
    )
    data = base64.b64decode(address.partition(',')[2])
    return np.frombuffer(data, np.uint8).reshape(height, width, 4)


def class_button(page, name):
    """Return the button of the legend that shows or hides a class."""
    return page.locator('#legend .class', has=page.get_by_text(name, exact=True))


def saved(page, button, folder):
    """Press a button that saves a file, and return the file's path in a folder."""
    with page.expect_download() as waiting:
        page.get_by_role('button', name=button, exact=True).click()
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path
