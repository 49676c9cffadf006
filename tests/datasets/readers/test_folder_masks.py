"""Masks of a user's own data: each way to store them has its meaning, or a refusal with remedy."""

import re

import numpy as np
import pytest
import yaml
from PIL import Image

import datasets
from common.command import run_command
from common.errors import UserError
from datasets import label_scan, prepare, show
from support.mask_data import as_jpeg, describe, png, random_values, with_palette, write

THREE, TWO = ['road', 'car', 'tree'], ['background', 'object']
COLOURS = {'road': [128, 64, 128], 'car': [0, 0, 142], 'tree': [0, 100, 0]}
BLACK_WHITE = {'background': [0, 0, 0], 'object': [255, 255, 255]}
LABELS, BINARY = random_values(0, 1, 2), random_values(0, 1)
RED, GREEN = (200, 0, 0), (0, 200, 0)
OPAQUE = np.full_like(LABELS, 255)
RGB = np.array(list(COLOURS.values()), np.uint8)[LABELS]


def labels_of(root, split='train'):
    return datasets.open('folder', root, split).label(0)


def refusal(root, split='train'):
    """Return the message that all labels of a split together cause; it names the first file."""
    dataset = datasets.open('folder', root, split)
    with pytest.raises(UserError) as error:
        label_scan.judge(dataset, label_scan.scan_labels(dataset))
    assert str(error.value).startswith(str(root / 'labels'))
    return str(error.value)


def stack(*channels):
    return np.dstack(channels)


@pytest.mark.parametrize(
    'mask',
    [
        pytest.param(stack(LABELS, LABELS, LABELS), id='RGB'),
        pytest.param(stack(LABELS, LABELS, LABELS, OPAQUE), id='RGBA'),
        pytest.param(png(stack(LABELS, OPAQUE), 8, 4), id='grey with alpha'),
        pytest.param(png(LABELS, 16, 0), id='16-bit grey'),
        pytest.param(png(LABELS * np.uint16(257), 16, 0), id='16-bit grey levels'),
        pytest.param(png(stack(LABELS, LABELS, LABELS), 16, 2), id='16-bit RGB'),
        pytest.param(png(stack(LABELS, OPAQUE * np.uint16(257)), 16, 4), id='16-bit grey, alpha'),
        pytest.param(png(LABELS, 2, 0), id='2-bit grey'),
        pytest.param(png(LABELS, 4, 0), id='4-bit grey'),
        pytest.param(with_palette(LABELS, dict(enumerate(COLOURS.values()))), id='palette'),
        pytest.param(with_palette(LABELS, {i: (i, i, i) for i in range(256)}), id='grey ramp'),
        pytest.param(with_palette(LABELS, {}), id='black palette'),
    ],
)
def test_class_indices_are_read_however_they_are_stored(tmp_path, mask):
    """Without and with colours of the classes."""
    for classes in (THREE, COLOURS):
        assert np.array_equal(labels_of(write(tmp_path, {'classes': classes}, mask)), LABELS)


@pytest.mark.parametrize(
    'description, mask, expected',
    [
        (TWO, png(BINARY, 1, 0), BINARY),
        (BLACK_WHITE, png(BINARY, 1, 0), BINARY),
        (dict(reversed(BLACK_WHITE.items())), png(BINARY, 1, 0), 1 - BINARY),
        (BLACK_WHITE, BINARY * 255, BINARY),
        (BLACK_WHITE, stack(BINARY, BINARY, BINARY) * 255, BINARY),
        (BLACK_WHITE, png(BINARY * np.uint16(65535), 16, 0), BINARY),
        (BLACK_WHITE, BINARY, BINARY),  # colours for pictures, labels of class indices
        ({'a': [9] * 3, 'b': [90] * 3, 'c': [200] * 3}, random_values(9, 90, 200), LABELS),
        ({'a': [1] * 3, 'b': [2] * 3, 'c': [3] * 3}, LABELS + 1, LABELS),
        ({'a': [0] * 3, 'b': [255] * 3, 'c': [255, 0, 0]}, BINARY * 255, BINARY),
        (COLOURS, RGB, LABELS),
        (COLOURS, png(RGB * np.uint16(257), 16, 2), LABELS),
    ],
)
def test_grey_levels_are_indices_or_colours_of_classes(tmp_path, description, mask, expected):
    assert np.array_equal(labels_of(write(tmp_path, {'classes': description}, mask)), expected)


def test_255_is_ignored_beside_two_classes(tmp_path):
    mask = random_values(0, 1, 255)
    root = write(tmp_path, {'classes': TWO}, mask, np.full_like(mask, 255), BINARY * 255)
    dataset = datasets.open('folder', root, 'train')
    label_scan.judge(dataset, label_scan.scan_labels(dataset))
    assert np.array_equal(dataset.label(0), mask)


def written_in(message):
    """Return the keys of dataset.yaml that a message proposes."""
    classes = re.search(r'classes: \{.*?\}', message)[0]
    ignore = re.search(r'ignore: (\[\[.*?\]\])', message)
    keys = yaml.safe_load(classes)
    if ignore:
        keys['ignore'] = yaml.safe_load(ignore[1])
    if 'label_format: colours' in message:
        keys['label_format'] = 'colours'
    return keys


@pytest.mark.parametrize('classes', [TWO, {'background': [0, 0, 0], 'object': [255, 0, 0]}])
@pytest.mark.parametrize('channels', [1, 3])
def test_0_and_255_are_refused_with_a_remedy_that_works(tmp_path, classes, channels):
    mask = np.squeeze(stack(*[BINARY * 255] * channels))
    root = write(tmp_path, {'classes': classes}, mask, mask)
    message = refusal(root)
    assert 'm0.png: the 2 label files have no other values than 0 and 255' in message
    describe(root, written_in(message))
    assert np.array_equal(labels_of(root), BINARY)
    describe(root, {'classes': classes, 'ignore': [255]})
    dataset = datasets.open('folder', root, 'train')
    label_scan.judge(dataset, label_scan.scan_labels(dataset))
    assert np.array_equal(dataset.label(0), BINARY * 255)


@pytest.mark.parametrize(
    'action, status', [(['--check'], 1), (['--stats'], 2), (['--pack', 'packed'], 2)]
)
def test_datasets_prepare_refuses_them(tmp_path, capsys, monkeypatch, action, status):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / 'own', {'classes': TWO}, BINARY * 255)
    arguments = ['folder', '-d', 'own', '--split', 'train', '--processes', '1', *action]
    assert run_command(prepare.build_parser, prepare.main, arguments) == status
    captured = capsys.readouterr()
    problem = 'own/labels/m0.png: the only label file has no other values than 0 and 255'
    assert problem in (captured.out if status == 1 else captured.err)
    assert not (tmp_path / 'packed/train').exists()


def test_datasets_show_warns_of_them(tmp_path, caplog):
    root = write(tmp_path / 'own', {'classes': TWO}, BINARY * 255)
    arguments = ['folder', '-d', str(root), '-o', str(tmp_path / 'sheet.png')]
    assert run_command(show.build_parser, show.main, arguments) == 0
    assert 'm0.png: the only label file has no other values than 0 and 255' in caplog.text


def test_masks_of_255_beside_masks_of_1_are_refused(tmp_path):
    masks = [BINARY] * 3 + [BINARY * 255] * 3
    message = refusal(write(tmp_path, {'classes': TWO}, *masks))
    assert '3 label files have the values 0 and 255, 3 others 0 and 1' in message
    write(tmp_path, {'classes': TWO}, *masks, random_values(0, 1, 255))
    dataset = datasets.open('folder', tmp_path, 'train')
    label_scan.judge(dataset, label_scan.scan_labels(dataset))


def test_a_split_of_0_and_255_is_judged_with_the_other_splits(tmp_path):
    """255 beside other classes shows that it is ignored; 0 and 1 alone do not show it."""
    for known, problems in ((random_values(0, 1, 255), 0), (BINARY, 1)):
        write(tmp_path, {'classes': TWO}, known, split='train')
        write(tmp_path, {'classes': TWO}, BINARY * 255, split='val')
        train, val = (datasets.open('folder', tmp_path, split) for split in ('train', 'val'))
        scans = [label_scan.scan_labels(dataset) for dataset in (train, val)]
        found = label_scan.problems(val, scans[1], scans[0])
        assert [path for path, _ in found] == [tmp_path / 'labels/val/m0.png'] * problems
        assert not label_scan.problems(train, scans[0], scans[1])


def test_packing_compares_the_splits(tmp_path, capsys):
    for split, colour in (('train', RED), ('val', GREEN)):
        mask = with_palette(LABELS, {1: colour})
        write(tmp_path / 'own', {'classes': THREE}, mask, split=split)
    arguments = ['folder', '-d', str(tmp_path / 'own'), '--pack', str(tmp_path / 'packed')]
    arguments += ['--split', 'train', 'val', '--processes', '1']
    assert run_command(prepare.build_parser, prepare.main, arguments) == 2
    assert 'val/m0.png: its palette shows index 1 as (0, 200, 0)' in capsys.readouterr().err
    assert [path.name for path in (tmp_path / 'packed').iterdir()] == ['train']


@pytest.mark.parametrize(
    'classes, values, listed',
    [
        (['crack'], (0, 1), ['background', 'crack']),
        (['car', 'tree: "old"'], (0, 1, 2, 255), ['background', 'car', 'tree: "old"']),
        (['Background', 'car'], (0, 1, 2), ['Background', 'car', 'other']),
    ],
)
def test_a_class_that_is_not_listed_has_a_remedy_that_works(tmp_path, classes, values, listed):
    for mask in (random_values(*values), with_palette(random_values(*values), {1: RED})):
        message = refusal(write(tmp_path, {'classes': classes}, mask))
        describe(tmp_path, re.search(r'classes: \[.*?\]', message)[0])
        assert list(datasets.info('folder', tmp_path).classes) == listed
        assert np.array_equal(labels_of(tmp_path), random_values(*values))


def test_255_can_be_ignored_beside_grey_levels_of_classes(tmp_path):
    classes = {'a': [9] * 3, 'b': [90] * 3, 'c': [200] * 3}
    root = write(tmp_path, {'classes': classes}, random_values(9, 90, 200, 255))
    assert 'm0.png: its grey values are colours of classes, except 255' in refusal(root)
    assert 'write ignore: [255] into dataset.yaml' in refusal(root)
    describe(root, {'classes': classes, 'ignore': [255]})
    assert np.array_equal(labels_of(root), random_values(0, 1, 2, 255))


@pytest.mark.parametrize(
    'classes, values, expected',
    [
        (TWO, (0, 128), (0, 1)),
        (THREE, (0, 128, 255), (0, 1, 2)),
        (THREE, (1, 2, 3), (0, 1, 2)),
        (THREE, (0, 1, 2, 3, 255), (255, 0, 1, 2, 255)),
    ],
)
def test_values_without_a_class_have_a_remedy_that_works(tmp_path, classes, values, expected):
    root = write(tmp_path, {'classes': classes}, random_values(*values))
    message = refusal(root)
    assert 'm0.png: holds the values' in message
    describe(root, written_in(message))
    assert np.array_equal(labels_of(root), random_values(*expected))


PANOPTIC = np.random.RandomState(0).randint(0, 256, (24, 40, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    'mask, problem',
    [
        (png(LABELS * np.uint16(1000) + 26, 16, 0), '16-bit values such as 1026, 2026; are'),
        (random_values(*range(30)), 'holds the values 3, 4, 5, 6, 7, .* are they ids of inst'),
        (PANOPTIC, 'colours for 3 .*; if they are ids of instances, export semantic masks'),
        (png(stack(LABELS, BINARY * 255), 8, 4), '50.00% of the pixels are transparent'),
        (as_jpeg(RGB), 'm0.png: JPEG, but a label file must be PNG: JPEG changes pixels'),
    ],
)
def test_files_that_cannot_be_masks_are_refused(tmp_path, mask, problem):
    for classes in (THREE, COLOURS):
        assert re.search(problem, refusal(write(tmp_path, {'classes': classes}, mask)))


def test_palettes_that_differ_from_the_description_are_refused(tmp_path):
    backwards = dict(enumerate(list(COLOURS.values())[::-1]))
    root = write(tmp_path, {'classes': COLOURS}, with_palette(2 - LABELS, backwards))
    message = refusal(root)
    assert 'm0.png: its palette gives index 0 the colour of class 2 (tree)' in message
    for label_format, expected in (('colours', LABELS), ('indices', 2 - LABELS)):
        assert f'label_format: {label_format}' in message
        describe(root, {'classes': COLOURS, 'label_format': label_format})
        assert np.array_equal(labels_of(root), expected)
    foreign = with_palette(LABELS, {1: (128, 0, 0), 2: (0, 128, 0)})
    message = refusal(write(tmp_path, {'classes': COLOURS}, foreign))
    assert 'class 0 (road), the colour [0, 0, 0], but dataset.yaml says [128, 64, 128]' in message
    assert 'label_format: indices' in message
    filled = with_palette(random_values(0, 1, 255), {1: RED})  # 255 is black, as class 0
    root = write(tmp_path, {'classes': {'a': [0, 0, 0], 'b': list(RED)}}, filled)
    assert np.array_equal(labels_of(root), random_values(0, 1, 255))
    white = with_palette(BINARY * 255, {255: (255, 255, 255), 7: (1, 2, 3)})
    classes = BLACK_WHITE | {'car': [0, 0, 142]}
    assert np.array_equal(labels_of(write(tmp_path, {'classes': classes}, white)), BINARY)


@pytest.mark.parametrize(
    'first, second, problem',
    [
        (
            with_palette(LABELS, {1: RED, 2: GREEN}),
            with_palette(LABELS, {1: GREEN, 2: RED}),
            'index 1 as (0, 200, 0), but that of {} shows it as (200, 0, 0)',
        ),
        (  # no index is used by both
            with_palette(random_values(1), {1: RED}),
            with_palette(random_values(2, 255), {2: RED, 255: GREEN}),
            'index 2 as (200, 0, 0), but that of {} shows index 1 so',
        ),
    ],
)
def test_palettes_that_differ_between_files_are_refused(tmp_path, first, second, problem):
    grey = with_palette(LABELS, {1: (128, 128, 128)})  # no colours, so nothing to compare
    message = refusal(write(tmp_path, {'classes': THREE}, first, grey, second))
    names = [str(tmp_path / f'labels/m{number}.png') for number in (0, 2)]
    assert f'{names[1]}: its palette shows {problem.format(names[0])}' in message
    assert 'label_format: indices' in message
    describe(tmp_path, {'classes': THREE, 'label_format': 'indices'})
    dataset = datasets.open('folder', tmp_path, 'train')
    label_scan.judge(dataset, label_scan.scan_labels(dataset))


def test_grey_masks_must_be_read_alike_in_all_files(tmp_path):
    """0 and 1 are class indices, 0 and 255 the colours of the classes."""
    message = refusal(write(tmp_path, {'classes': BLACK_WHITE}, BINARY, BINARY * 255))
    assert 'm1.png: its values are read as the colours of classes' in message
    assert 'm0.png' in message and 'label_format: indices or label_format: colours' in message


@pytest.mark.parametrize('ending', ['jpg', 'jpeg', 'JPG', 'png'])
def test_jpeg_images_beside_png_masks_are_pairs(tmp_path, ending):
    """In folders of their own, and in one folder."""
    write(tmp_path, {'classes': THREE}, LABELS)
    (tmp_path / 'images/m0.jpg').rename(tmp_path / f'images/m0.{ending}')
    assert np.array_equal(labels_of(tmp_path), LABELS)
    if ending != 'png':
        (tmp_path / 'images' / f'm0.{ending}').rename(tmp_path / f'labels/m0.{ending}')
        describe(tmp_path, {'classes': THREE, 'images': 'labels'})
        assert np.array_equal(labels_of(tmp_path), LABELS)


def test_jpeg_masks_are_named(tmp_path):
    """They are refused as JPEG, not taken for missing labels."""
    write(tmp_path, {'classes': THREE}, LABELS, LABELS)
    (tmp_path / 'labels/m1.png').unlink()
    Image.fromarray(LABELS).save(tmp_path / 'labels/m1.jpg')
    assert 'm1.jpg: JPEG, but a label file must be PNG' in refusal(tmp_path)


@pytest.mark.parametrize(
    'text, names',
    [
        ('classes: [no, yes, on, off]', ['no', 'yes', 'on', 'off']),
        ('classes: [null, ~, 1.0, 2024-05-01, 0x10]', ['null', '~', '1.0', '2024-05-01', '0x10']),
        ('classes: {no: [0, 0, 0], 1.0: [1, 1, 1]}', ['no', '1.0']),
    ],
)
def test_class_names_are_those_written(tmp_path, text, names):
    assert list(datasets.info('folder', write(tmp_path, text, LABELS)).classes) == names


# A list of gigabytes, if all of it is written.
ALIASES = 'classes:\n  - &a0 [x, x, x, x, x, x, x, x]\n' + ''.join(
    f'  - &a{n} [{", ".join([f"*a{n - 1}"] * 8)}]\n' for n in range(1, 10)
)


@pytest.mark.parametrize(
    'text, problem',
    [
        ('classes: {road: [1, 2, 3], road: [4, 5, 6]}', 'line 1: duplicate key road'),
        ('classes: [road, car, road]', 'different names; road is there twice'),
        ('classes: ["a  b", "a b"]', 'different names; a b is there twice'),
        ('classes: [a]\nclasses: [b]', 'line 2: duplicate key classes'),
        ('classes: {a: [1, 2, 3], b: [1, 2, 3]}', r'two classes .* \[1, 2, 3\]: a and b'),
        ('classes: {a: [1, 2, 3]}\nignore: [[1, 2, 3]]', 'ignore and the class a have the same'),
        ('classes: [a]\nlabel_format: colours', 'label_format: colours needs the colours'),
        ('classes: ["", a]', 'classes must be 1 to 255 different names'),
        (ALIASES, 'line .*: more than 20000 values, those of aliases included'),
    ],
)
def test_contradictory_descriptions_are_refused(tmp_path, text, problem):
    with pytest.raises(datasets.DataError, match=f'dataset.yaml: .*{problem}'):
        datasets.info('folder', write(tmp_path, text, LABELS))
