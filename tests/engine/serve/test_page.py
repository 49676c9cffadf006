"""The page in a real browser, with the real server and the network of the demo."""

import json
import re
import socket
import urllib.request
from contextlib import ExitStack
from urllib.parse import parse_qs, urlsplit

import cv2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from datasets import image_files
from engine import Segmenter
from engine.inference.settings import ProtocolSettings
from support import browsers
from support.page_server import serving
from support.programs import PROJECT
from support.tiff_writer import write_tiff

PHOTO = PROJECT / 'resources' / 'street.jpg'
CONFIG = 'configs/D3Net_T_camvid.yaml'
SCALE = 0.3  # of the network's view: quick to compile and to compute
MAX_BYTES, MAX_PIXELS = 400_000, 500_000
REFUSED = 'Failed to load resource: the server responded with a status of'  # Chromium's own line


@pytest.fixture(scope='module')
def browser():
    with browsers.chromium() as started:
        yield started


@pytest.fixture(scope='module')
def server(own_cache):
    limits = ('--max-bytes', MAX_BYTES, '--max-pixels', MAX_PIXELS, '--queue', 0)
    with serving('-cfg', CONFIG, '--scale', SCALE, *limits) as address:
        yield address


@pytest.fixture(scope='module')
def result(server):
    """What the street photo has by Python."""
    return Segmenter(CONFIG, protocol=ProtocolSettings(scales=(SCALE,)))(PHOTO)


@pytest.fixture
def visit(browser, server):
    """Open the page; at the end, nothing went wrong unseen, and no other host was asked."""
    contexts = []

    def open_page(script=None, **settings):
        context = browser.new_context(**{'viewport': {'width': 1280, 'height': 860}, **settings})
        context.set_default_timeout(browsers.HANG)
        page = context.new_page()
        contexts.append((context, watch := browsers.Watch(page)))
        if script:
            page.add_init_script(script)
        page.goto(server)
        page.wait_for_selector('#model:enabled')
        return page, watch

    yield open_page
    for context, watch in contexts:
        assert not [line for line in watch.errors if not line.startswith(REFUSED)]
        assert {urlsplit(url).netloc for url in watch.requests if url.startswith('http')} == {
            urlsplit(server).netloc
        }
        assert context.cookies() == []
        context.close()


def wait_for(page, state, picture=1):
    """Wait until a picture of the strip has a state."""
    page.wait_for_selector(f'#pictures li:nth-child({picture})[data-state={state}]')


def segmented(page, *files):
    """Choose files and wait until the first one is shown with its classes."""
    page.set_input_files('#files', files)
    wait_for(page, 'done')
    page.wait_for_selector('#legend li')


def read_out(page):
    return [page.inner_text(f'#pixel-{part}') for part in ('class', 'confidence', 'place')]


def expected_read_out(result, x, y):
    share = 100 * np.rint(255 * result.confidence[y, x]) / 255
    percent = f'{share:.0f} %' if share >= 9.95 else f'{share:.1f} %'
    return [result.classes[result.labels[y, x]], percent, f'x {x}, y {y}']


def test_a_dropped_photo_shows_its_classes(visit, result):
    page, watch = visit()
    browsers.drop(page, PHOTO)
    wait_for(page, 'done')
    page.wait_for_selector('#legend li')
    names = page.locator('#legend .class .name').all_inner_texts()
    assert names == list(result.shares)
    shares = page.locator('#legend .class .share').all_inner_texts()
    assert [re.match(r'(< )?[\d.]+ %', text) is not None for text in shares] == [True] * len(names)
    assert abs(float(shares[0].rstrip(' %')) - 100 * result.shares[names[0]]) <= 0.5
    height, width = result.labels.shape
    assert f'D3Net_T_camvid · {width} × {height}' in page.inner_text('#facts')
    assert len(watch.posts()) == 1
    for stage in ('#original-stage', '#segmented-stage'):
        for x, y in ((375, 450), (300, 60), (40, 200), (700, 300), (0, 0), (750, 562)):
            browsers.point(page, stage, x, y, (height, width))
            assert read_out(page) == expected_read_out(result, x, y)
    page.mouse.move(2, 2)
    assert 'Point at a picture' in read_out(page)[0]


def test_hiding_classes_and_opacity_change_the_picture(visit, result):
    page, _ = visit()
    segmented(page, PHOTO)
    colours = np.zeros((256, 4), np.uint8)
    colours[: len(result.palette)] = [(*rgb, 255) for rgb in result.palette]
    np.testing.assert_array_equal(browsers.canvas_pixels(page), colours[result.labels])

    first, *rest = result.shares
    page.get_by_role('button', name=first).first.click()
    index = result.classes.index(first)
    hidden = colours[result.labels]
    hidden[result.labels == index] = 0
    np.testing.assert_array_equal(browsers.canvas_pixels(page), hidden)

    original, shown = page.locator('#original-stage'), page.locator('#segmented-stage')
    seen = cv2.resize(result.labels, browsers.screenshot(shown).shape[1::-1], interpolation=0)
    inner = cv2.erode((seen == index).astype(np.uint8), np.ones((9, 9))) > 0
    page.locator('#opacity').press('End')  # all the way to 100 %
    page.mouse.move(2, 2)
    difference = np.abs(browsers.screenshot(shown).astype(int) - browsers.screenshot(original))
    print(difference[inner].mean(), np.percentile(difference[inner], [50, 90, 99, 99.9]))
    assert difference[inner].mean() <= 1  # where the class is hidden, the photo is seen
    other = cv2.erode((seen == result.classes.index(rest[0])).astype(np.uint8), np.ones((9, 9))) > 0
    assert np.ptp(browsers.screenshot(shown)[other], axis=0).max() <= 2  # one colour covers it
    page.locator('#opacity').press('Home')
    difference = np.abs(browsers.screenshot(shown).astype(int) - browsers.screenshot(original))
    assert difference[8:-8, 8:-8].max() <= 2

    page.get_by_role('button', name=f'Only {first}').click()
    only = np.where((result.labels == index)[..., None], colours[result.labels], 0)
    np.testing.assert_array_equal(browsers.canvas_pixels(page), only)
    page.get_by_role('button', name='Show all').click()
    np.testing.assert_array_equal(browsers.canvas_pixels(page), colours[result.labels])


def test_confidence_is_shown_as_a_picture(visit, result):
    from matplotlib import colormaps

    page, _ = visit()
    segmented(page, PHOTO)
    page.get_by_label('Confidence', exact=True).check()
    values = np.rint(255 * result.confidence).astype(np.uint8)
    ramp = np.rint(255 * np.array(colormaps['viridis'](np.arange(256)))).astype(int)
    painted = browsers.canvas_pixels(page)
    assert np.abs(painted - ramp[values]).max() <= 20  # eight straight pieces of matplotlib's curve
    assert page.locator('#opacity-value').inner_text() == '100 %'
    assert page.locator('#confidence-scale').is_visible()


def test_downloads_are_what_the_server_and_python_give(visit, result, server, tmp_path):
    page, _ = visit()
    lossless = tmp_path / 'street.png'  # decoders of JPEG differ by a grey level
    image_files.write_image(lossless, image_files.read_image(PHOTO)[:300, :400])
    own = Segmenter(CONFIG, protocol=ProtocolSettings(scales=(SCALE,)))(lossless)
    segmented(page, lossless)
    overlay = cv2.imread(str(browsers.saved(page, 'Overlay', tmp_path)))
    np.testing.assert_array_equal(overlay, own.overlay(0.5))
    labels = browsers.saved(page, 'Labels', tmp_path)
    np.testing.assert_array_equal(cv2.imread(str(labels), cv2.IMREAD_UNCHANGED), own.labels)
    with Image.open(browsers.saved(page, 'Palette PNG', tmp_path)) as palette:
        assert palette.mode == 'P'
        np.testing.assert_array_equal(np.asarray(palette), own.labels)
        assert palette.getpalette()[:33] == list(np.ravel(own.palette))
    facts = json.loads(browsers.saved(page, 'JSON', tmp_path).read_text())
    assert [one['name'] for one in facts['classes']] == list(own.shares)
    assert facts.keys() == {'model', 'width', 'height', 'scale', 'seconds', 'confidence', 'classes'}

    name = next(iter(own.shares))
    page.get_by_role('button', name=name).first.click()
    page.locator('#opacity').fill('80')
    seen = cv2.imread(str(browsers.saved(page, 'Overlay', tmp_path)))
    photo = cv2.imread(str(lossless))
    hidden = (own.labels == own.classes.index(name))[..., None]
    np.testing.assert_array_equal(seen, np.where(hidden, photo, own.overlay(0.8)))


def test_a_falsified_canvas_is_never_saved(visit):
    falsify = """const read = CanvasRenderingContext2D.prototype.getImageData;
        CanvasRenderingContext2D.prototype.getImageData = function (...place) {
            const image = read.apply(this, place);
            image.data[400] ^= 1;
            return image;
        };"""
    page, _ = visit(falsify)
    segmented(page, PHOTO)
    page.get_by_role('button', name='Overlay', exact=True).click()
    page.wait_for_selector('#error:visible')
    assert 'privacy settings' in page.inner_text('#error-text')


def test_everything_works_by_keyboard(visit, result):
    page, _ = visit()
    page.keyboard.press('Tab')
    page.keyboard.press('Tab')
    with page.expect_file_chooser() as chooser:
        page.keyboard.press('Enter')
    chooser.value.set_files(PHOTO)
    page.wait_for_selector('#legend li')

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
    toggle = page.get_by_role('button', name=second, pressed=False)
    assert toggle.count() == 1
    assert not browsers.canvas_pixels(page)[result.labels == result.classes.index(second)].any()


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
    page, watch = visit()
    broken = tmp_path / 'broken.jpg'
    broken.write_bytes(PHOTO.read_bytes()[:2000])
    page.set_input_files('#files', broken)
    wait_for(page, 'failed')
    page.wait_for_selector('#error:visible')
    assert page.inner_text('#error-text') == _line_of_the_server(server, broken)
    assert len(watch.posts()) == 1

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
    assert len(watch.posts()) == 1  # the page knew the limits

    page.set_input_files('#files', PHOTO)
    wait_for(page, 'done', 5)
    assert page.locator('#error').is_hidden()


def _line_of_the_server(server, path):
    """Return the line of the server's refusal of a file."""
    body = (
        f'--x\r\nContent-Disposition: form-data; name="image"; filename="{path.name}"\r\n\r\n'
    ).encode() + path.read_bytes() + b'\r\n--x--\r\n'  # fmt: skip
    request = urllib.request.Request(
        f'{server}/segment', body, {'Content-Type': 'multipart/form-data; boundary=x'}
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request)
    assert caught.value.code == 415
    return json.load(caught.value)['error']


def test_a_busy_server_is_asked_again_and_a_wait_can_be_cancelled(visit, server):
    page, watch = visit()
    address = urlsplit(server)
    head = b'POST /segment HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n'
    with ExitStack() as stack:
        for _ in range(2):  # uploads that do not come take both places
            upload = socket.create_connection((address.hostname, address.port))
            stack.enter_context(upload).sendall(head)
        page.set_input_files('#files', PHOTO)
        expect(page.locator('#phase')).to_contain_text('busy')
        page.get_by_role('button', name='Cancel').click()
        wait_for(page, 'cancelled')
        page.get_by_role('button', name='Try again').click()
        expect(page.locator('#phase')).to_contain_text('busy')
    wait_for(page, 'done')  # both places are free
    assert len(watch.posts()) >= 3


def test_a_server_that_is_gone_is_said(visit):
    page, _ = visit()
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
    assert names[0] == 'street.jpg'
    assert sorted(names[1:]) == ['scan.tif', 'turned.jpg']
    page.locator('.thumbnail').first.focus()
    for size in {'scan.tif': (70, 50), 'turned.jpg': (90, 120)}.items():
        page.locator('.thumbnail', has_text=size[0]).click()
        expect(page.locator('#facts')).to_contain_text(f'{size[1][0]} × {size[1][1]}')
        page.wait_for_function(
            """([width, height]) => [...document.querySelectorAll('.stage img')].every(
                (image) => image.naturalWidth === width && image.naturalHeight === height)""",
            arg=size[1],
        )
    page.locator('.thumbnail', has_text='turned.jpg').press('Delete')
    assert page.locator('#pictures li').count() == 2
    page.get_by_role('button', name='Remove all').click()
    assert page.locator('#result').is_hidden()
    assert page.locator('#strip').is_hidden()


def test_model_and_scale_are_chosen(visit):
    page, watch = visit()
    segmented(page, PHOTO)
    assert 'scale' not in parse_qs(urlsplit(watch.posts()[0]).query)
    page.get_by_text('Options').click()
    page.get_by_label('The network sees the picture').select_option('own')
    page.get_by_label('Scale, 0.05 to 4').fill(str(SCALE))
    page.get_by_label('Scale, 0.05 to 4').press('Enter')
    expect(page.locator('#facts')).to_contain_text('scale 0.3')
    assert '225 × 169' in page.inner_text('#facts')
    assert parse_qs(urlsplit(watch.posts()[-1]).query)['scale'] == ['0.3']
    scales = page.evaluate(
        """async () => {
            const { scaleFor } = await import('/page/scale.js');
            return [12e6, 1e6].map((pixels) => scaleFor('auto', { pixels }, { scalable: true }))
                .concat(scaleFor(0.5, { pixels: 9 }, { scalable: false }));
        }"""
    )
    assert 0.99 < 12e6 * scales[0] ** 2 / 2**20 <= 1
    assert scales[1:] == [None, None]


def test_a_phone_has_all_without_scrolling_sideways(visit, result):
    page, _ = visit(
        viewport={'width': 360, 'height': 740}, has_touch=True, is_mobile=True,
        device_scale_factor=2,
    )  # fmt: skip
    fits = 'document.documentElement.scrollWidth <= 360'
    assert page.evaluate(fits)
    assert page.get_by_role('button', name='Take a photo').is_visible()
    assert page.get_attribute('#camera', 'capture') == 'environment'
    page.set_input_files('#camera', PHOTO)
    wait_for(page, 'done')
    page.wait_for_selector('#legend li')
    page.get_by_text('Options').tap()
    assert page.evaluate(fits)
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
    page, watch = visit()
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
    assert len([line for line in watch.errors if 'Content Security Policy' in line]) >= 2
    watch.errors.clear()
