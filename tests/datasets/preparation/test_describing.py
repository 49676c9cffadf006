"""prepare init: folders are found, masks of each kind get a dataset.yaml that reads them."""

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

import datasets
from datasets import prepare
from support import mask_data, prepare_runs, stand_ins, train_runs

COLOURS = [(0, 0, 0), (200, 10, 10), (10, 20, 200)]


def pair(root, image, mask, pixels):
    """Write an image and its mask."""
    for name in (image, mask):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(root / image), stand_ins.image(*mask_data.SIZE))
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(root / mask)


def described(root):
    return yaml.safe_load((root / 'dataset.yaml').read_text())


@pytest.mark.parametrize(
    ('image', 'mask', 'expected'),
    [
        ('images/{}.jpg', 'labels/{}.png', {}),
        ('images/{}.png', 'masks/{}.png', {'labels': 'masks'}),
        ('a/{}.png', 'b/{}.png', {'images': 'a', 'labels': 'b'}),
        ('b/{}.png', 'a/{}.png', {'images': 'b', 'labels': 'a'}),
        ('{}.jpg', '{}_mask.png', {'images': '.', 'labels': '.', 'label_suffix': '_mask'}),
        ('{}.png', '{}_mask.png', {'images': '.', 'labels': '.', 'label_suffix': '_mask'}),
        ('{}.jpg', '{}.png', {'images': '.', 'labels': '.'}),
        ('x/{}.jpg', 'gt/{}-seg.png', {'images': 'x', 'labels': 'gt', 'label_suffix': '-seg'}),
        ('images/one/{}.jpg', 'labels/one/{}.png', {}),
        ('images/train/{}.jpg', 'masks/train/{}.png', {'labels': 'masks'}),
    ],
)
def test_folders_and_names_of_masks_are_found(image, mask, expected, tmp_path, capsys):
    for number, name in enumerate(('frame_1', 'frame_10', 'other')):
        pixels = mask_data.random_values(0, 1, seed=number)
        pair(tmp_path, image.format(name), mask.format(name), pixels)
    status, lines, errors = prepare_runs.run(capsys, 'init', '-d', tmp_path)
    assert (status, errors) == (0, [])
    found = described(tmp_path)
    assert {
        key: found[key] for key in found.keys() & {'images', 'labels', 'label_suffix'}
    } == expected
    command = 'folder' if 'train' in image else 'split'
    assert lines[-1].endswith(
        f'then run python -m datasets.prepare {command} -d {tmp_path}'
        + (' --check' if command == 'folder' else '')
    )
    assert len(datasets.open('folder', tmp_path, 'train')) == 3


@pytest.mark.parametrize(
    ('values', 'classes', 'form', 'ignore', 'indices'),
    [
        ((0, 1, 2), ['class 0', 'class 1', 'class 2'], 'indices', [], (0, 1, 2)),
        ((0, 1, 255), ['class 0', 'class 1'], 'indices', [255], (0, 1, 255)),
        ((0, 255), ['background', 'object'], 'colours', [], (0, 1)),
        ((1, 2), ['class 1', 'class 2'], 'colours', [], (0, 1)),
        ((7, 8, 26, 255), ['class 7', 'class 8', 'class 26'], 'colours', [255], (0, 1, 2, 255)),
        ((0, 128, 255), ['class 0', 'class 128', 'class 255'], 'colours', [], (0, 1, 2)),
    ],
)  # fmt: skip
def test_values_of_grey_masks_become_classes(
    values, classes, form, ignore, indices, tmp_path, capsys, caplog
):
    pixels = mask_data.random_values(*values)
    pair(tmp_path, 'images/a.jpg', 'labels/a.png', pixels)
    status, lines, _ = prepare_runs.run(capsys, 'init', '-d', tmp_path)
    assert status == 0
    found = described(tmp_path)
    assert (list(found['classes']), found['label_format'], found['ignore']) == (
        classes, form, ignore
    )  # fmt: skip
    label = datasets.open('folder', tmp_path, 'train').label(0)
    assert np.array_equal(label, np.array(indices, np.uint8)[np.searchsorted(values, pixels)])
    share = f'{100 * (pixels == values[0]).mean():.3f}'
    assert lines[2].split()[-2:] == [share, '1']
    text = (tmp_path / 'dataset.yaml').read_text()
    assert f'# {(pixels == values[0]).mean():.2%} of the pixels, in 1 masks' in text
    assert bool(caplog.messages) == (values == (0, 255))
    for remark in caplog.messages:  # what the user has to decide, in the file as well
        assert remark in text
        written = remark.partition('write ')[2].replace(' and ', ', ').replace(', ig', '\nig')
        description = written.replace(', label_format', '\nlabel_format')
        (tmp_path / 'dataset.yaml').write_text(description)
        label = datasets.open('folder', tmp_path, 'train').label(0)
        assert np.array_equal(label, pixels)


def test_colours_of_palettes_and_of_pixels_are_kept(tmp_path, capsys, caplog):
    indices = mask_data.random_values(0, 1, 2, 255)
    void = 224, 224, 192
    spread = np.where(indices == 255, indices, 3 * indices)
    masks = {
        'palette': mask_data.with_palette(indices, dict(enumerate([*COLOURS])) | {255: void}),
        'gaps': mask_data.with_palette(spread, dict(zip((0, 3, 6, 255), (*COLOURS, void)))),
        'rgb': Image.fromarray(np.array([*COLOURS, void], np.uint8)[np.minimum(indices, 3)]),
    }
    for kind, mask in masks.items():
        root = tmp_path / kind
        pair(root, 'images/a.jpg', 'labels/a.png', mask)
        assert prepare_runs.run(capsys, 'init', '-d', root)[0] == 0
        dataset = datasets.open('folder', root, 'train')
        shown = np.array([*dataset.info.palette, void], np.uint8)[
            np.minimum(dataset.label(0), len(dataset.info.palette))
        ]
        expected = np.array([*COLOURS, void], np.uint8)[np.minimum(indices, 3)]
        assert np.array_equal(shown, expected), kind
    (remark,) = caplog.messages  # in colour images, no value says which pixels are ignored
    assert 'move it from classes to ignore' in remark
    assert list(described(root)['classes']) == ['black', 'mediumblue', 'firebrick', 'wheat']


def test_palettes_that_differ_are_counted_by_colour(tmp_path, capsys, caplog):
    indices = mask_data.random_values(0, 1)
    for name, colours in (('a', COLOURS[:2]), ('b', COLOURS[1::-1])):
        mask = mask_data.with_palette(indices, dict(enumerate(colours)))
        pair(tmp_path, f'images/{name}.jpg', f'labels/{name}.png', mask)
    status, lines, _ = prepare_runs.run(capsys, 'init', '-d', tmp_path)
    assert status == 0
    assert [line.split()[-2:] for line in lines[2:4]] == 2 * [['50.000', '2']]
    assert not any('ignored' in line for line in lines)


def test_index_255_is_ignored_where_a_palette_hides_it(tmp_path, capsys):
    indices = mask_data.random_values(0, 1, 2, 255)
    spread = np.where(indices == 255, indices, 3 * indices)
    mask = mask_data.with_palette(spread, dict(zip((0, 3, 6), COLOURS)))  # 255 is black, as 0 is
    pair(tmp_path, 'images/a.jpg', 'labels/a.png', mask)
    assert prepare_runs.run(capsys, 'init', '-d', tmp_path)[0] == 0
    dataset = datasets.open('folder', tmp_path, 'train')
    assert np.array_equal(dataset.label(0), spread)
    assert dataset.info.classes[1:3] == ('unused 1', 'unused 2')


def test_colours_of_a_published_data_set_get_its_names(tmp_path, capsys):
    known = datasets.info('cityscapes')
    picture = np.array([*known.palette[10:14], (0, 0, 0)], np.uint8)[
        mask_data.random_values(0, 1, 2, 3, 4)
    ]
    pair(tmp_path, 'images/a.jpg', 'labels/a.png', picture)
    assert prepare_runs.run(capsys, 'init', '-d', tmp_path)[0] == 0
    assert set(described(tmp_path)['classes']) == {'black', *known.classes[10:14]}


def test_the_users_names_are_filled_in_and_nothing_is_overwritten(tmp_path, capsys):
    pair(tmp_path, 'images/a.jpg', 'labels/a.png', mask_data.random_values(0, 1))
    assert '--classes road: 1 names, but the masks have 2 classes (class 0, class 1)' in (
        prepare_runs.refused(capsys, 'init', '-d', tmp_path, '--classes', 'road')
    )
    for names, message in (
        (['a b', 'a  b'], 'two classes are called a b; rename one of them'),
        (['a', '\x1b'], "the class '\\x1b': a name must have 1 to 200 characters, without control"),
        (['a', ' '], "the class ' ': a name must"),
        (['a', 'b' * 201], "a name must have 1 to 200 characters"),
    ):
        line = prepare_runs.refused(capsys, 'init', '-d', tmp_path, '--classes', *names)
        assert message in line
    odd = ['- x: "#"', 'no']
    assert prepare_runs.run(capsys, 'init', '-d', tmp_path, '--classes', *odd)[0] == 0
    assert datasets.info('folder', tmp_path).classes == tuple(odd)
    before = (tmp_path / 'dataset.yaml').read_bytes()
    assert 'dataset.yaml: exists and is not overwritten' in (
        prepare_runs.refused(capsys, 'init', '-d', tmp_path)
    )
    assert (tmp_path / 'dataset.yaml').read_bytes() == before


def test_blended_and_jpeg_masks_are_refused_with_the_remedy(tmp_path, capsys):
    coarse = np.array(COLOURS, np.uint8)[mask_data.random_values(0, 1, 2)[:6, :10]]
    large = Image.fromarray(coarse).resize((200, 120), Image.Resampling.BILINEAR)
    masks = {
        'smooth': large,
        'grey': large.convert('L'),
        'was_jpeg': cv2.imdecode(
            np.frombuffer(
                mask_data.as_jpeg(np.kron(coarse, np.ones((20, 20, 1), np.uint8))), np.uint8
            ),
            1,
        ),
    }
    for kind, mask in masks.items():
        pair(tmp_path / kind, 'images/a.jpg', 'labels/a.png', mask)
        line = prepare_runs.refused(capsys, 'init', '-d', tmp_path / kind)
        assert line.startswith(f'{tmp_path / kind}/labels/a.png: the masks have ')
        assert 'without antialiasing, and resize by nearest neighbour' in line
        assert not (tmp_path / kind / 'dataset.yaml').exists()
    pair(tmp_path / 'jpeg', 'images/a.jpg', 'masks/a.jpg', coarse)
    assert 'masks/a.jpg: JPEG, but a label file must be PNG' in (
        prepare_runs.refused(capsys, 'init', '-d', tmp_path / 'jpeg')
    )


def test_many_classes_are_not_taken_for_blends(tmp_path, capsys):
    """Nor are rare ones, as each has a place where it is alone."""
    pixels = np.arange(150, dtype=np.uint8).repeat(4)[None].repeat(8, 0)
    picture = np.dstack([pixels, 255 - pixels, pixels // 2])
    for name, mask, count in (('indices', pixels, 150), ('colours', picture, 150)):
        pair(tmp_path / name, 'images/a.jpg', 'labels/a.png', mask)
        assert prepare_runs.run(capsys, 'init', '-d', tmp_path / name)[0] == 0
        assert len(described(tmp_path / name)['classes']) == count


def test_folders_that_do_not_fit_are_refused_with_the_remedy(tmp_path, capsys):
    pixels = mask_data.random_values(0, 1)
    for split in ('train', 'valid'):
        pair(tmp_path / 'splits', f'{split}/images/a.jpg', f'{split}/masks/a.png', pixels)
    line = prepare_runs.refused(capsys, 'init', '-d', tmp_path / 'splits')
    assert line.endswith(
        f'cd {tmp_path}/splits; mkdir -p images labels; mv train/images images/train; mv '
        'train/masks labels/train; mv valid/images images/val; mv valid/masks labels/val'
    )
    for folder in ('masks', 'masks_2'):
        pair(tmp_path / 'two', 'images/a.jpg', f'{folder}/a.png', pixels)
    line = prepare_runs.refused(capsys, 'init', '-d', tmp_path / 'two')
    assert 'name those to use: --images images --labels masks, --images images --labels ma' in line
    assert prepare_runs.run(capsys, 'init', '-d', tmp_path / 'two', '--labels', 'masks_2')[0] == 0
    for name in ('a.jpg', 'b.jpg'):
        pair(tmp_path / 'both', name, f'{name[0]}_seg.png', pixels)
        pair(tmp_path / 'both', name, f'{name[0]}_gt.png', pixels)
    line = prepare_runs.refused(capsys, 'init', '-d', tmp_path / 'both')
    assert (
        '--images . --labels . --label-suffix _gt, --images . --labels . --label-suffix _s' in line
    )
    words = '-d', tmp_path / 'both', '--label-suffix', '_gt'
    assert prepare_runs.run(capsys, 'init', *words)[0] == 0
    assert described(tmp_path / 'both')['label_suffix'] == '_gt'
    pair(tmp_path / 'three', 'rgb/a.png', 'masks/a.png', pixels)
    pair(tmp_path / 'three', 'overlays/a.png', 'masks/a.png', pixels)
    assert prepare_runs.run(capsys, 'init', '-d', tmp_path / 'three')[0] == 0
    assert described(tmp_path / 'three')['images'] == 'rgb'
    (tmp_path / 'none').mkdir()
    assert 'no images with masks of the same names were found' in (
        prepare_runs.refused(capsys, 'init', '-d', tmp_path / 'none')
    )
    assert 'no such folder' in prepare_runs.refused(capsys, 'init', '-d', tmp_path / 'absent')
    for named, message in (
        ('two/images', 'no such folder in'),  # as seen from the working directory
        ('../two/images', 'is not in'),
        ('../three/rgb', 'is not in'),
    ):
        line = prepare_runs.refused(capsys, 'init', '-d', tmp_path / 'none', '--images', named)
        assert line.startswith(f'--images {named}: {message} {tmp_path}/none; name')


def test_folders_of_splits_with_other_names_are_to_be_renamed(tmp_path, capsys):
    for split in ('train', 'valid'):
        pair(tmp_path, f'{split}/a.jpg', f'{split}/a_mask.png', mask_data.random_values(0, 1))
    status, lines, _ = prepare_runs.run(capsys, 'init', '-d', tmp_path, '--classes', 'a', 'b')
    assert status == 0
    assert lines[-1].endswith(
        f'run mv {tmp_path}/valid {tmp_path}/val; python -m datasets.prepare folder -d {tmp_path} '
        '--check'
    )


def test_what_init_and_split_write_is_trained_without_further_work(tmp_path, capsys):
    for number in range(6):
        pixels = mask_data.random_values(0, 1, 255, seed=number)
        pair(tmp_path, f'{number}.jpg', f'{number}_mask.png', pixels)
    for words in (('init',), ('split', '--val', 2), ('folder', '--check')):
        status, lines, _ = prepare_runs.run(capsys, words[0], '-d', tmp_path, *words[1:])
        assert status == 0, lines
    assert 'folder train: 4 images, no problems' in lines
    training = train_runs.Training(tmp_path, tmp_path, max_iter=2, num_classes=2)
    assert (training.whole('run') / 'final.h5').is_file()


def test_the_help_lists_the_forms(capsys):
    for words in (['--help'], ['init', '--help']):
        with pytest.raises(SystemExit):
            prepare.run(words)
        text = capsys.readouterr().out
        assert 'python -m datasets.prepare init' in text
