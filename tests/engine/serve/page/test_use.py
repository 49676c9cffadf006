"""The page in a real browser: ways in, refusals, the keyboard, phones, colours, safety."""

import re
import socket
import time
from contextlib import ExitStack

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from datasets import image_files
from support import browsers, served
from support.page_visits import (
    LOADING_FAILED,
    MAX_BYTES,
    PHOTO,
    canvas_pixels,
    class_button,
    expected_read_out,
    read_out,
    segmented,
    wait_for,
)
from support.tiff_writer import write_tiff


def test_everything_works_by_keyboard(visit, result):
    page, _ = visit()
    browsers.answer_file_dialogs(page, PHOTO)
    page.keyboard.press('Tab')
    page.keyboard.press('Tab')
    page.keyboard.press('Enter')
    page.wait_for_selector('#legend .class')

    def tab_to(selector):
        for _ in range(40):
            page.keyboard.press('Tab')
            if page.evaluate('(wanted) => document.activeElement.matches(wanted)', selector):
                return
        raise AssertionError(f'Tab does not reach {selector}')

    tab_to('#segmented-stage')
    height, width = result.labels.shape
    x, y = width // 2, height // 2
    assert read_out(page) == expected_read_out(result, x, y)
    for key, (right, down) in {'ArrowDown': (0, 15), 'ArrowRight': (15, 0)}.items():
        page.keyboard.press(key)
        x, y = x + right, y + down  # a fiftieth of the width
    page.keyboard.press('Shift+ArrowLeft')
    assert read_out(page) == expected_read_out(result, x - 1, y)
    expect(page.locator('#pixel-announcement')).to_contain_text(
        result.classes[result.labels[y, x - 1]]
    )
    tab_to('#legend .class')
    page.keyboard.press('ArrowDown')
    page.keyboard.press('Space')
    second = list(result.shares)[1]
    assert class_button(page, second).get_attribute('aria-pressed') == 'false'
    assert not canvas_pixels(page)[result.labels == result.classes.index(second)].any()


def test_a_picture_is_pasted(visit):
    page, _ = visit(permissions=['clipboard-read', 'clipboard-write'])
    page.evaluate(
        """async () => {
            const canvas = Object.assign(document.createElement('canvas'), {width: 90, height: 60});
            canvas.getContext('2d').fillRect(0, 0, 90, 60);
            const png = await new Promise((done) => canvas.toBlob(done));
            await navigator.clipboard.write([new ClipboardItem({'image/png': png})]);
        }"""
    )
    page.keyboard.press('Control+V')
    wait_for(page, 'done')
    assert '90 × 60' in page.inner_text('#facts')


def test_refusals_are_one_line(visit, server, tmp_path):
    page, watch = visit(expected_errors=LOADING_FAILED)
    broken = tmp_path / 'broken.jpg'
    broken.write_bytes(PHOTO.read_bytes()[:2000])
    page.set_input_files('#files', broken)
    wait_for(page, 'failed')
    page.wait_for_selector('#error:visible')
    assert (
        page.inner_text('#error-text')
        == server.segment(broken.read_bytes(), name=broken.name).error
    )
    assert len(watch.segmentations()) == 1

    heavy, large = tmp_path / 'heavy.jpg', tmp_path / 'large.png'
    heavy.write_bytes(PHOTO.read_bytes() + bytes(MAX_BYTES))
    image_files.write_image(large, np.zeros((600, 900, 3), np.uint8))
    tiff = write_tiff(tmp_path / 'large.tif', np.zeros((600, 900, 1), np.uint8))
    tiff.write_bytes(tiff.read_bytes()[: MAX_BYTES - 1])
    for number, (path, unit) in enumerate(
        ((heavy, 'MiB'), (large, 'megapixels'), (tiff, 'megapixels')), start=2
    ):
        page.set_input_files('#files', path)
        wait_for(page, 'failed', number)
        expect(page.locator('#error-text')).to_contain_text(f'{path.name} has ')
        assert f'{unit} at most' in page.inner_text('#error-text')
    assert len(watch.segmentations()) == 1  # the page knew the limits

    page.set_input_files('#files', PHOTO)
    wait_for(page, 'done', 5)
    assert page.locator('#error').is_hidden()


def test_a_busy_server_is_asked_again_and_a_wait_can_be_cancelled(visit, server):
    page, watch = visit(expected_errors=LOADING_FAILED)
    kind = served.MULTIPART_HEADER['Content-Type']
    head = f'POST /segment HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nContent-Type: {kind}'
    with ExitStack() as stack:
        for _ in range(2):  # uploads that do not come take both places
            upload = stack.enter_context(socket.create_connection(('127.0.0.1', server.port)))
            upload.sendall(f'{head}\r\n\r\n'.encode())
        while (health := server.get('/health').json)['running'] + health['waiting'] < 2:
            time.sleep(0.01)
        page.set_input_files('#files', PHOTO)
        expect(page.locator('#phase')).to_contain_text('busy')
        page.get_by_role('button', name='Cancel').click()
        wait_for(page, 'cancelled')
        page.get_by_role('button', name='Try again').click()
        expect(page.locator('#phase')).to_contain_text('busy')
    wait_for(page, 'done')  # both places are free
    assert len(watch.segmentations()) >= 3


def test_a_server_that_is_gone_is_said(visit):
    page, _ = visit(expected_errors=LOADING_FAILED)
    page.context.set_offline(True)
    page.set_input_files('#files', [PHOTO, PHOTO])
    wait_for(page, 'failed')
    wait_for(page, 'cancelled', 2)
    page.wait_for_selector('#error:visible')
    assert 'does not answer' in page.inner_text('#error-text')
    page.context.set_offline(False)
    page.get_by_role('button', name='Try again').click()
    wait_for(page, 'done', 1)
    wait_for(page, 'done', 2)


def wait_for_size(page, width, height):
    """Wait until a picture of a size is shown, and its classes."""
    expect(page.locator('#facts')).to_contain_text(f'{width} × {height}')
    page.wait_for_function(
        """([width, height]) => [...document.querySelectorAll('.stage img')].every(
            (image) => image.naturalWidth === width && image.naturalHeight === height)""",
        arg=[width, height],
    )


def test_several_pictures_stand_in_a_strip(visit, tmp_path, result):
    page, _ = visit()
    folder = tmp_path / 'pictures'
    folder.mkdir()
    turned = folder / 'turned.jpg'
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn to the right
    with Image.open(PHOTO) as photo:
        photo.resize((120, 90)).save(turned, exif=exif)
    write_tiff(folder / 'scan.tif', np.full((50, 70, 3), 90, np.uint8))
    (folder / 'notes.txt').write_text('no picture')
    browsers.drop(page, PHOTO, folder)
    for number in (1, 2, 3):
        wait_for(page, 'done', number)
    names = page.locator('#pictures .thumbnail .name').all_inner_texts()
    assert names == ['street.jpg', 'scan.tif', 'turned.jpg']
    page.locator('.thumbnail').first.focus()
    for name, *size in (('scan.tif', 70, 50), ('turned.jpg', 90, 120)):
        page.locator('.thumbnail', has_text=name).click()
        wait_for_size(page, *size)
    page.get_by_label('Model', exact=True).select_option('tiny')  # which leaves pictures unturned
    wait_for_size(page, 120, 90)
    page.locator('.thumbnail', has_text='turned.jpg').press('Delete')
    assert page.locator('#pictures li').count() == 2
    page.get_by_role('button', name='Remove all').click()
    assert page.locator('#result').is_hidden()
    assert page.locator('#strip').is_hidden()


def test_a_long_picture_can_be_read(visit, tmp_path):
    page, _ = visit()
    page.get_by_label('Model', exact=True).select_option('tiny')
    panorama = tmp_path / 'panorama.png'
    image_files.write_image(panorama, np.full((10, 3000, 3), 90, np.uint8))
    segmented(page, panorama)
    stage = page.locator('#segmented-stage')
    assert stage.bounding_box()['height'] >= 40
    stage.focus()
    stage.press('ArrowRight')  # beyond what is seen at first
    assert read_out(page)[2] == 'x 1560, y 5'
    window, cross = (
        page.locator(f'.segmented {part}').bounding_box() for part in ('.window', '.crosshair')
    )
    assert window['x'] <= cross['x'] <= window['x'] + window['width']
    assert page.evaluate('document.documentElement.scrollWidth') == page.viewport_size['width']


def test_text_follows_the_size_that_the_user_set(visit):
    page, _ = visit()
    size = 'parseFloat(getComputedStyle(document.querySelector("#choose")).fontSize)'
    before = page.evaluate(size)
    page.evaluate('document.documentElement.style.fontSize = "200%"')
    assert page.evaluate(size) == 2 * before


def test_a_phone_has_all_without_scrolling_sideways(visit, result):
    page, _ = visit(
        viewport={'width': 360, 'height': 740}, has_touch=True, is_mobile=True,
        device_scale_factor=2,
    )  # fmt: skip
    too_wide = """[...document.querySelectorAll('main *')].filter(
        (one) => !one.closest('#pictures') && one.getBoundingClientRect().right > 348
    ).map((one) => one.outerHTML)"""  # beside the margin; the strip of thumbnails scrolls by itself
    assert page.evaluate(too_wide) == []
    assert page.get_by_role('button', name='Take a photo').is_visible()
    assert page.get_attribute('#camera', 'capture') == 'environment'
    page.set_input_files('#camera', PHOTO)
    wait_for(page, 'done')
    page.wait_for_selector('#legend .class')
    page.get_by_text('Options').tap()
    assert page.evaluate(too_wide) == []
    assert page.evaluate('document.documentElement.scrollWidth') == 360
    stage = page.locator('#segmented-stage')
    stage.tap()
    height, width = result.labels.shape
    assert read_out(page)[0] == result.classes[result.labels[height // 2, width // 2]]
    page.get_by_label('Original', exact=True).check()
    assert page.locator('#original-stage').is_visible()
    assert stage.is_hidden()


def luminance(colour):
    """Return the relative luminance of ``rgb(...)``, by WCAG 2."""
    values = np.array([int(n) for n in re.findall(r'\d+', colour)[:3]]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_both_schemes_have_contrast(visit, scheme):
    page, _ = visit(color_scheme=scheme)
    pairs = page.evaluate(
        """() => {
            const probe = document.body.appendChild(document.createElement('i'));
            const value = (name) => {
                probe.style.color = `var(--${name})`;
                return getComputedStyle(probe).color;
            };
            return [['ink', 'ground'], ['ink', 'card'], ['soft', 'ground'], ['soft', 'card'],
                ['soft', 'fill'], ['accent', 'ground'], ['accent', 'card'], ['error', 'error-fill'],
                ['on-accent', 'accent']].map((pair) => [pair, ...pair.map(value)]);
        }"""
    )
    for pair, *colours in pairs:
        low, high = sorted(map(luminance, colours))
        assert (high + 0.05) / (low + 0.05) >= 4.5, pair
    ground = luminance(page.evaluate('getComputedStyle(document.body).backgroundColor'))
    assert (ground > 0.5) == (scheme == 'light')


def test_the_policy_is_in_force_and_all_controls_have_names(visit):
    page, watch = visit(expected_errors='Content Security Policy')
    segmented(page, PHOTO)
    assert page.evaluate('localStorage.length + sessionStorage.length') == 0
    tree = page.context.new_cdp_session(page).send('Accessibility.getFullAXTree')['nodes']
    controls = [
        node
        for node in tree
        if any(p['name'] == 'focusable' and p['value']['value'] for p in node.get('properties', ()))
        and node['role']['value'] != 'RootWebArea'
    ]
    assert len(controls) > 20
    assert [node for node in controls if not node.get('name', {}).get('value')] == []
    page.evaluate(
        """() => document.head.append(
            Object.assign(document.createElement('script'), {textContent: 'window.ran = true'}))"""
    )
    assert page.evaluate('window.ran === undefined')
    blocked = page.evaluate("fetch('http://127.0.0.2:9/').then(() => false, () => true)")
    assert blocked
    assert len(watch.expected) >= 2
