"""The page in a real browser: what it shows of a picture equals what Python finds."""

import json
import re

import cv2
import numpy as np
from PIL import Image
from playwright.sync_api import expect

from datasets import image_files
from support import browsers
from support.page_visits import (
    PHOTO,
    SCALE,
    canvas_pixels,
    class_button,
    expected_read_out,
    read_out,
    saved,
    segmented,
    wait_for,
)


def test_a_dropped_photo_shows_its_classes(visit, result):
    page, watch = visit()
    browsers.drop(page, PHOTO)
    wait_for(page, 'done')
    page.wait_for_selector('#legend .class')
    names = page.locator('#legend .class .name').all_inner_texts()
    assert names == list(result.shares)
    shares = page.locator('#legend .class .share').all_inner_texts()
    assert [re.match(r'(< )?[\d.]+ %', text) is not None for text in shares] == [True] * len(names)
    assert abs(float(shares[0].rstrip(' %')) - 100 * result.shares[names[0]]) <= 0.5
    height, width = result.labels.shape
    assert f'D3Net_T_camvid · {width} × {height}' in page.inner_text('#facts')
    assert len(watch.segmentations()) == 1
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
    np.testing.assert_array_equal(canvas_pixels(page), colours[result.labels])

    first, *rest = result.shares
    class_button(page, first).click()
    index = result.classes.index(first)
    hidden = colours[result.labels]
    hidden[result.labels == index] = 0
    np.testing.assert_array_equal(canvas_pixels(page), hidden)

    original, shown = page.locator('#original-stage'), page.locator('#segmented-stage')
    seen = cv2.resize(result.labels, browsers.screenshot(shown).shape[1::-1], interpolation=0)
    inner = cv2.erode((seen == index).astype(np.uint8), np.ones((9, 9))) > 0
    page.locator('#opacity').press('End')  # all the way to 100 %
    page.mouse.move(2, 2)
    difference = np.abs(browsers.screenshot(shown).astype(int) - browsers.screenshot(original))
    assert difference[inner].mean() <= 1  # where the class is hidden, the photo is seen
    other = cv2.erode((seen == result.classes.index(rest[0])).astype(np.uint8), np.ones((9, 9))) > 0
    assert np.ptp(browsers.screenshot(shown)[other], axis=0).max() <= 2  # one colour covers it
    page.locator('#opacity').press('Home')
    difference = np.abs(browsers.screenshot(shown).astype(int) - browsers.screenshot(original))
    assert difference[8:-8, 8:-8].max() <= 2

    page.get_by_role('button', name=f'Only {first}').click()
    only = np.where((result.labels == index)[..., None], colours[result.labels], 0)
    np.testing.assert_array_equal(canvas_pixels(page), only)
    page.get_by_role('button', name='Show all').click()
    np.testing.assert_array_equal(canvas_pixels(page), colours[result.labels])


def test_confidence_is_shown_as_a_picture(visit, result):
    from matplotlib import colormaps

    page, _ = visit()
    segmented(page, PHOTO)
    page.get_by_label('Confidence', exact=True).check()
    values = np.rint(255 * result.confidence).astype(np.uint8)
    ramp = np.rint(255 * np.array(colormaps['viridis'](np.arange(256)))).astype(int)
    painted = canvas_pixels(page)
    assert np.abs(painted - ramp[values]).max() <= 20  # eight straight pieces of matplotlib's curve
    assert page.locator('#opacity-value').inner_text() == '100 %'
    assert page.locator('#confidence-scale').is_visible()


def test_downloads_are_what_the_server_and_python_give(visit, segmenter, tmp_path):
    page, _ = visit()
    lossless = tmp_path / 'street.png'  # decoders of JPEG differ by a grey level
    image_files.write_image(lossless, image_files.read_image(PHOTO)[:300, :400])
    own = segmenter(lossless)
    segmented(page, lossless)
    overlay = cv2.imread(str(saved(page, 'Overlay', tmp_path)))
    np.testing.assert_array_equal(overlay, own.overlay(0.5))
    labels = saved(page, 'Labels', tmp_path)
    np.testing.assert_array_equal(cv2.imread(str(labels), cv2.IMREAD_UNCHANGED), own.labels)
    with Image.open(saved(page, 'Palette PNG', tmp_path)) as palette:
        assert palette.mode == 'P'
        np.testing.assert_array_equal(np.asarray(palette), own.labels)
        assert palette.getpalette()[:33] == list(np.ravel(own.palette))
    facts = json.loads(saved(page, 'JSON', tmp_path).read_text())
    assert [one['name'] for one in facts['classes']] == list(own.shares)
    assert facts.keys() == {
        'model', 'width', 'height', 'scale', 'views', 'seconds', 'confidence', 'classes',
    }  # fmt: skip

    name = next(iter(own.shares))
    class_button(page, name).click()
    page.locator('#opacity').fill('80')
    seen = cv2.imread(str(saved(page, 'Overlay', tmp_path)))
    photo = cv2.imread(str(lossless))
    hidden = (own.labels == own.classes.index(name))[..., None]
    np.testing.assert_array_equal(seen, np.where(hidden, photo, own.overlay(0.8)))


def test_a_transparent_picture_is_shown_as_the_network_sees_it(visit, segmenter, tmp_path):
    page, watch = visit()
    colours = image_files.read_image(PHOTO)[:300, :400]
    for alpha, differs in ((255, 0), (0, 2)):  # the browser has no colours of invisible pixels
        path = tmp_path / f'alpha-{alpha}.png'
        cv2.imwrite(str(path), np.dstack([colours, np.full((300, 400), alpha, np.uint8)]))
        page.set_input_files('#files', path)
        expect(page.locator('#facts')).to_contain_text('400 × 300')
        expect(page.locator('#caption')).to_have_text(path.name)
        parts = watch.segmentations()[-1]['include']
        assert ('original' in parts) == (alpha == 0)
        overlay = cv2.imread(str(saved(page, 'Overlay', tmp_path)))
        difference = np.abs(overlay.astype(int) - segmenter(path).overlay(0.5))
        assert difference.mean() <= differs


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


def test_model_and_scale_are_chosen(visit):
    page, watch = visit()
    page.get_by_text('Options').click()
    scale = page.get_by_label('The network sees the picture')
    scale.select_option('own')
    page.get_by_label('Scale, 0.01 to 4').fill(str(SCALE))
    segmented(page, PHOTO)
    assert '225 × 169 (scale 0.3)' in page.inner_text('#facts')
    own = page.get_by_label('Scale, 0.01 to 4')
    for value, valid in (('', False), ('9', False), ('0.333', True), (str(SCALE), True)):
        own.fill(value)
        if not valid:
            own.blur()  # which hands the value over
        assert own.evaluate('(field) => field.checkValidity()') == valid
    assert [one.get('scale') for one in watch.segmentations()] == [['0.3']]
    scale.select_option('auto')
    expect(page.locator('#facts')).not_to_contain_text('(scale')
    assert 'seen at 225 × 169' in page.inner_text('#facts')
    assert 'scale' not in watch.segmentations()[-1]

    page.get_by_label('Model', exact=True).select_option('tiny')
    expect(page.locator('#facts')).to_contain_text('tiny · ')
    names = page.locator('#legend .class .name').all_inner_texts()
    assert set(names) <= {'ground', 'square', 'disc'}
    assert watch.segmentations()[-1]['model'] == ['tiny']
    scales = page.evaluate(
        """async () => {
            const { scaleFor } = await import('/page/scale.js');
            const by = (choice, pixels, scalable, resizes) =>
                scaleFor(choice, { pixels }, { scalable, resizes });
            return [by('auto', 12e6, true, false), by('auto', 1e6, true, false),
                by('auto', 12e6, true, true), by(0.5, 12e6, true, true), by(0.5, 9, false, true)];
        }"""
    )
    assert 0.99 < 12e6 * scales[0] ** 2 / 2**20 <= 1
    assert scales[1:] == [None, None, 0.5, None]
