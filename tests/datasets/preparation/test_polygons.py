"""prepare polygons: masks of LabelMe, CVAT and COCO are those of the tools themselves."""

import math
import os

import cv2
import numpy as np
import yaml
from PIL import Image, ImageDraw

import datasets
from support import annotation_files, prepare_runs
from support.annotation_files import FLAT, OUTLINE, SIZE, as_base64

PAIRS = ';'.join(f'{x},{y}' for x, y in OUTLINE)


def converted(root, capsys, annotations, *options):
    """Convert annotations; return the masks by name and the lines that were printed."""
    status, lines, errors = prepare_runs.run(capsys, 'polygons', annotations, '-d', root, *options)
    assert (status, errors) == (0, []), (lines, errors)
    labels = root / 'labels'
    return {
        path.relative_to(labels).with_suffix('').as_posix(): np.asarray(Image.open(path))
        for path in sorted(labels.rglob('*.png'))
    }, lines


def near_outline(outline):
    """Return the pixels within about one of a polygon's outline, where tools differ."""
    near = np.zeros(SIZE, np.uint8)
    cv2.polylines(near, [np.round(np.array(outline)).astype(np.int32)], True, 1, 3)
    return near > 0


def filled(outline):
    """Return a polygon as OpenCV fills it, with 8 bits behind the point."""
    mask = np.zeros(SIZE, np.uint8)
    fixed = np.round(np.array(outline) * 256).astype(np.int32)
    cv2.fillPoly(mask, [fixed], 1, shift=8)
    return mask > 0


def test_labelme_shapes_are_those_of_its_own_conversion(tmp_path, capsys):
    """Each shape is drawn alone here, as labelme/utils/shape.py does, and later ones are on top."""
    bitmap = np.zeros((11, 21), bool)
    bitmap[2:9, 3:15] = True
    shapes = [
        ('road', 'polygon', OUTLINE),
        ('car', 'rectangle', [[40.3, 30.7], [20.2, 10.1]]),  # drawn from below
        ('sign', 'circle', [[60, 40], [70.5, 44]]),
        ('pole', 'line', [[3, 3], [40, 50]]),
        ('pole', 'linestrip', [[50, 3], [70, 10], [75, 30]]),
        ('light', 'point', [[30, 30]]),
        ('car', 'mask', [[10, 40], [30, 50]], {'mask': as_base64(bitmap), 'group_id': 1}),
        ('road', None, [[0, 50], [20, 50], [20, 59]]),  # of version 3
    ]
    annotation_files.image(tmp_path / 'a.png')
    annotation_files.labelme(tmp_path / 'a.json', shapes)
    masks, lines = converted(tmp_path, capsys, tmp_path)
    names = ['background', 'car', 'light', 'pole', 'road', 'sign']
    assert not datasets.open('folder', tmp_path, 'train').unused  # not the JSON either
    assert yaml.safe_load((tmp_path / 'dataset.yaml').read_text())['classes'] == names
    expected = np.zeros(SIZE, np.uint8)
    for label, type_, points, *_ in shapes:
        image = Image.new('1', SIZE[::-1])
        draw, (x, y) = ImageDraw.Draw(image), points[0]
        if type_ in ('polygon', None):
            draw.polygon([tuple(p) for p in points], outline=1, fill=1)
        elif type_ == 'rectangle':
            draw.rectangle((20.2, 10.1, 40.3, 30.7), outline=1, fill=1)
        elif type_ in ('circle', 'point'):
            radius = math.hypot(10.5, 4) if type_ == 'circle' else 5
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=1, fill=1)
        elif type_ in ('line', 'linestrip'):
            draw.line([tuple(p) for p in points], fill=1, width=10)
        mask = np.array(image)
        if type_ == 'mask':
            mask[40:51, 10:31] = bitmap
        expected[mask] = names.index(label)
    assert np.array_equal(masks['a'], expected)
    assert lines[0] == f'{tmp_path}/labels: 1 masks written, 0 were up to date, 0 failed'
    share = f'{100 * (expected == 1).mean():.3f}'
    assert ['1', 'car', share, '1'] in [line.split() for line in lines]


def test_polygons_agree_with_opencv_but_at_their_outlines(tmp_path, capsys):
    for tool in ('labelme', 'cvat', 'coco'):
        root = tmp_path / tool
        annotation_files.image(root / 'images/a.png')
        if tool == 'labelme':
            found = annotation_files.labelme(root / 'images/a.json', [('x', 'polygon', OUTLINE)])
        elif tool == 'cvat':
            shape = f'<polygon label="x" points="{PAIRS}" z_order="0"/>'
            found = annotation_files.cvat(root / 'a.xml', {'a.png': shape})
        else:
            keys = {'segmentation': [FLAT]}
            found = annotation_files.coco(root / 'a.json', ['a.png'], [(0, 7, keys)], {7: 'x'})
        masks, _ = converted(root, capsys, found)
        far = ~near_outline(OUTLINE)
        assert np.array_equal(masks['a'][far], filled(OUTLINE)[far])
        assert masks['a'].sum() > 800 and far.mean() > 0.7


def test_cvat_draws_by_z_order_and_reads_each_kind_of_shape(tmp_path, capsys):
    runs = [1, 2, 3, 2]  # 4x2 pixels: .xx. / ..xx
    shapes = (
        '<box label="top" xtl="10" ytl="10" xbr="30" ybr="20" z_order="5"/>'
        f'<polygon label="low" points="{PAIRS}" z_order="-1">'
        '<attribute name="a">b</attribute></polygon>'
        '<box label="low" xtl="5" ytl="5" xbr="15" ybr="55" z_order="4"/>'
        '<box label="turned" xtl="35" ytl="25" xbr="55" ybr="35" rotation="90" z_order="0"/>'
        '<ellipse label="round" cx="65" cy="45" rx="10" ry="6" z_order="0"/>'
        f'<mask label="bits" rle="{", ".join(map(str, runs))}" left="70" top="2" width="4" '
        'height="2" z_order="9"/>'
        '<points label="point" points="1,1" z_order="0"/><tag label="tag"/>'
        '<polyline label="line" points="1,1;5,5" z_order="0"/>'
    )
    annotation_files.image(tmp_path / 'images/sub/a.png')
    annotation_files.image(tmp_path / 'images/sub/empty.png')
    labels = ['top', 'unused', 'low', 'bits', 'turned', 'round', 'point', 'line']
    path = annotation_files.cvat(
        tmp_path / 'a.xml', {'sub/a.png': shapes, 'sub/empty.png': ''}, labels
    )
    masks, _ = converted(tmp_path, capsys, path)
    names = ['background', 'top', 'low', 'bits', 'turned', 'round']
    assert datasets.info('folder', tmp_path).classes == tuple(names)
    mask = masks['sub/a']
    assert not masks['sub/empty'].any()
    assert (mask[10:20, 10:30] == 1).all()  # box: a pixel is the square from x to x + 1
    assert (mask[5:10, 5:15] == 2).all()
    assert (mask[20:40, 40:50] == 4).all() and not (mask[:, 36:39] == 4).any()
    bits = mask[2:4, 70:74] == 3
    assert bits.tolist() == [[False, True, True, False], [False, False, True, True]]
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    inside = ((x - 65) / 10) ** 2 + ((y - 45) / 6) ** 2
    assert (mask[inside < 0.75] == 5).all() and not (mask[inside > 1.3] == 5).any()


def test_coco_draws_later_instances_on_top_and_crowds_below(tmp_path, capsys):
    square = [[2, 2, 22, 2, 22, 22, 2, 22]]
    other = [[12, 12, 42, 12, 42, 42, 12, 42], [60, 5, 70, 5, 70, 15, 60, 15]]
    columns = np.zeros(SIZE, bool)
    columns[:, 10:50] = True
    crowd = {'counts': [10 * SIZE[0], 40 * SIZE[0], 30 * SIZE[0]], 'size': list(SIZE)}
    annotations = [
        (0, 3, {'segmentation': square, 'iscrowd': 0, 'area': 1, 'bbox': [2, 2, 20, 20]}),
        (0, 1, {'segmentation': other, 'iscrowd': 0}),
        (0, 2, {'segmentation': crowd, 'iscrowd': 1}),
        (0, 1, {'segmentation': [], 'bbox': [0, 0, 9, 9]}),
    ]
    annotation_files.image(tmp_path / 'images/a.png')
    path = annotation_files.coco(
        tmp_path / 'a.json', ['a.png'], annotations, {1: 'cat', 2: 'herd', 3: 'dog', 4: 'unused'}
    )
    masks, _ = converted(tmp_path, capsys, path)
    assert datasets.info('folder', tmp_path).classes == ('background', 'cat', 'herd', 'dog')
    expected = np.where(columns, 2, 0)
    expected[2:22, 2:22] = 3
    expected[12:42, 12:42] = expected[5:15, 60:70] = 1
    assert np.array_equal(masks['a'], expected)


def test_classes_background_and_ignored_labels_are_chosen(tmp_path, capsys):
    box = [[10, 10], [29, 29]]
    shapes = [
        ('car', 'rectangle', box), ('van', 'rectangle', [[40, 10], [49, 19]]),
        ('__ignore__', 'rectangle', [[0, 0], [4, 4]]),
        ('_background_', 'rectangle', [[15, 15], [19, 19]]),
    ]  # fmt: skip
    for name in ('chosen', 'bare', 'own'):
        annotation_files.image(tmp_path / name / 'a.png')
        annotation_files.labelme(tmp_path / name / 'a.json', shapes)
    options = (
        '--classes',
        '__ignore__',
        '_background_',
        'van',
        'car',
        'road',
        '--background',
        'road',
        '--ignore',
        'bus',
    )
    masks, _ = converted(tmp_path / 'chosen', capsys, tmp_path / 'chosen', *options)
    mask = masks['a']
    assert datasets.info('folder', tmp_path / 'chosen').classes == ('van', 'car', 'road')
    assert [mask[y, x] for y, x in ((50, 50), (2, 2), (12, 12), (17, 17), (12, 45))] == [
        2, 255, 1, 2, 0
    ]  # fmt: skip
    options = '--ignore-background', '--ignore', 'van'
    masks, _ = converted(tmp_path / 'bare', capsys, tmp_path / 'bare', *options)
    assert datasets.info('folder', tmp_path / 'bare').classes == ('car',)
    assert np.unique(masks['a']).tolist() == [0, 255]
    line = prepare_runs.refused(
        capsys, 'polygons', tmp_path / 'own', '-d', tmp_path / 'own', '--classes', 'car'
    )
    assert (
        line
        == 'van (1 images): no class of --classes; add the names there, or name them with --ignore'
    )
    assert not (tmp_path / 'own/dataset.yaml').exists()
    (tmp_path / 'own/dataset.yaml').write_text('classes: [background, van, car]\nimages: .\n')
    masks, _ = converted(tmp_path / 'own', capsys, tmp_path / 'own')
    assert masks['a'][12, 12] == 2  # the order of dataset.yaml stays


def test_a_conversion_resumes_and_keeps_what_was_drawn_by_hand(tmp_path, capsys):
    for name in 'abc':
        annotation_files.image(tmp_path / f'{name}.png')
        annotation_files.labelme(tmp_path / f'{name}.json', [('x', 'polygon', OUTLINE)])
    words = 'polygons', tmp_path, '-d', tmp_path
    assert prepare_runs.run(capsys, *words, processes=2)[0] == 0
    masks = {name: tmp_path / f'labels/{name}.png' for name in 'abc'}
    content, inode = masks['a'].read_bytes(), masks['b'].stat().st_ino
    masks['a'].write_bytes(content[:50])  # as by a crash, before this run
    os.utime(masks['a'], ns=(0, 0))
    cv2.imwrite(str(masks['c']), np.zeros(SIZE, np.uint8))
    os.utime(masks['c'], ns=(2**62, 2**62))
    status, lines, _ = prepare_runs.run(capsys, 'polygons', tmp_path, '-d', tmp_path)
    assert status == 1
    assert lines[0] == (
        f'{masks["c"]}: exists, is newer than {tmp_path}/c.json and differs from it; move it away '
        'to draw it anew'
    )
    assert lines[1] == f'{tmp_path}/labels: 1 masks written, 1 were up to date, 1 failed'
    assert masks['a'].read_bytes() == content
    assert masks['b'].stat().st_ino == inode
    annotation_files.labelme(tmp_path / 'c.json', [('x', 'rectangle', OUTLINE[:2])])
    os.utime(tmp_path / 'c.json', ns=(2**62 + 1, 2**62 + 1))
    assert '1 masks written, 2 were up' in converted(tmp_path, capsys, tmp_path)[1][0]


def test_images_are_found_by_paths_and_taken_from_labelme_files(tmp_path, capsys):
    images, notes = tmp_path / 'images', tmp_path / 'notes'
    for name in ('x/a', 'y/a', 'z/b'):
        annotation_files.image(images / f'{name}.png')
    shapes = [('car', 'polygon', OUTLINE)]
    annotation_files.labelme(notes / '1.json', shapes, imagePath='..\\images\\x\\a.png')
    annotation_files.labelme(notes / '2.json', shapes, imagePath='y/a.png')
    annotation_files.labelme(notes / '3.json', shapes, imagePath='C:\\photos\\b.png')  # unique
    annotation_files.image(images / 'w/c.png')
    annotation_files.labelme(images / 'w/c.json', shapes, imagePath='before_renaming.png')
    held = as_base64(np.full((*SIZE, 3), 9, np.uint8))
    annotation_files.labelme(notes / 'lost.json', shapes, imageData=held)
    masks, _ = converted(tmp_path, capsys, tmp_path)
    assert list(masks) == ['lost', 'w/c', 'x/a', 'y/a', 'z/b']
    assert (datasets.open('folder', tmp_path, 'train').image(0) == 9).all()
    annotation_files.labelme(notes / '4.json', shapes, imagePath='a.png')  # which of two?
    status, lines, _ = prepare_runs.run(capsys, 'polygons', notes, '-d', tmp_path)
    assert status == 1
    assert lines[0] == (
        f'{notes}/4.json: there is no image a.png in {images}; name the folder of the images with '
        '--images'
    )
    annotation_files.labelme(notes / '4.json', shapes, imagePath='x/a.png')
    line = prepare_runs.refused(capsys, 'polygons', notes, '-d', tmp_path)
    assert line.endswith(f'the image x/a is annotated in {notes}/1.json as well; name one of them')


def test_masks_replace_no_images(tmp_path, capsys):
    annotation_files.image(tmp_path / 'a.png')
    path = annotation_files.labelme(tmp_path / 'a.json', [('x', 'polygon', OUTLINE)])
    os.utime(path, ns=(2**62, 2**62))
    before = (tmp_path / 'a.png').read_bytes()
    line = prepare_runs.refused(capsys, 'polygons', path, '-d', tmp_path, '--labels', '.')
    assert line.endswith('a.png: is an image, not a mask; name another folder with --labels')
    assert (tmp_path / 'a.png').read_bytes() == before
