"""Checks of splits: no problems in genuine files, and every damage is reported."""

import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

import datasets
from common.command import run_command
from common.errors import InputError
from datasets import prepare
from datasets.image_files import write_image
from datasets.preparation.check import check_split

GENUINE = {
    'camvid': 'camvid',
    'cityscapes': 'samples/cityscapes',
    'ade20k': 'samples/ADEChallengeData2016',
    'ade20k32': 'samples/ADEChallengeData2016',
    'voc': 'samples/VOCdevkit/VOC2012',
    'cocostuff164k': 'samples/cocostuff164k',
    'cocostuff10k': 'samples/cocostuff10k_from164k',
}


@pytest.mark.parametrize('name', GENUINE)
def test_genuine_files_have_no_problems_and_are_counted(name, shared):
    """The histograms equal those of all labels, decoded once more."""
    dataset = datasets.open(name, shared / 'data' / GENUINE[name], 'val', complete=False)
    report = check_split(dataset)
    assert report.problems == ()
    assert report.samples == len(dataset)
    labels = (dataset.label(index) for index in range(len(dataset)))
    counts = np.array([np.bincount(label.ravel(), minlength=256) for label in labels])
    assert report.pixels.tolist() == counts.sum(0).tolist()
    assert report.images.tolist() == (counts > 0).sum(0).tolist()


def test_pixel_counts_of_camvid_equal_those_of_its_files(shared):
    """Pillow reads the values; 11 is void."""
    report = check_split(datasets.open('camvid', shared / 'data/camvid', 'train'))
    paths = (shared / 'data/camvid').glob('trainannot/*')
    values = (np.asarray(Image.open(path)).ravel() for path in paths)
    expected = sum(np.bincount(value, minlength=12) for value in values)
    assert report.pixels[[*range(11), 255]].tolist() == expected.tolist()


@pytest.fixture
def camvid(shared, tmp_path):
    """A small copy of the SegNet edition: 6 pairs of val and 2 of test."""
    for split, count in (('val', 6), ('test', 2)):
        for folder in (split, f'{split}annot'):
            (tmp_path / folder).mkdir()
            for path in sorted((shared / 'data/camvid' / folder).iterdir())[:count]:
                shutil.copy(path, tmp_path / folder)
    return tmp_path


def problems(name, root, split='val', processes=1):
    """Return (file, kind) of each problem in a split."""
    report = check_split(datasets.open(name, root, split, complete=False), processes)
    assert all(problem.message.startswith(str(problem.file)) for problem in report.problems)
    return [(problem.file, problem.kind) for problem in report.problems]


@pytest.mark.parametrize('processes', [1, 2])
def test_every_kind_of_problem_is_reported(processes, camvid):
    images, labels = (sorted((camvid / name).iterdir()) for name in ('val', 'valannot'))
    images[0].write_bytes(images[0].read_bytes()[:1000])
    labels[1].write_bytes(labels[1].read_bytes()[:1000])
    label = cv2.imread(str(labels[2]), cv2.IMREAD_UNCHANGED)
    write_image(labels[2], label[:-1])
    write_image(labels[3], np.where(label == 0, 99, label))
    labels[4].unlink()
    images[5].unlink()
    assert sorted(problems('camvid', camvid, processes=processes)) == sorted([
        (images[0], 'image'),
        (labels[1], 'label'),
        (labels[2], 'size'),
        (labels[3], 'label'),
        (images[4], 'missing'),
        (labels[5], 'missing'),
    ])  # fmt: skip


def test_a_wrong_size_has_the_message_of_training(camvid):
    label = min((camvid / 'valannot').iterdir())
    write_image(label, cv2.imread(str(label), cv2.IMREAD_UNCHANGED)[:-1])
    dataset = datasets.open('camvid', camvid, 'val')
    (problem,) = check_split(dataset).problems
    with pytest.raises(InputError) as error:
        dataset.pair(0)
    assert problem.message == str(error.value)
    assert '480x359 pixels, but its image' in problem.message


def test_one_sample_can_have_several_problems(camvid):
    image, label = (next(iter(sorted((camvid / name).iterdir()))) for name in ('val', 'valannot'))
    image.write_bytes(b'')
    label.write_bytes(b'')
    assert problems('camvid', camvid) == [(image, 'image'), (label, 'label')]


def test_values_beyond_the_classes_are_reported_and_counted(shared, tmp_path):
    """A file can contain trainIds of 19 and more, but no class has them."""
    root = tmp_path / 'cityscapes'
    shutil.copytree(shared / 'data/samples/cityscapes_256x128', root)
    label = next(root.rglob('*_labelTrainIds.png'))
    values = cv2.imread(str(label), cv2.IMREAD_UNCHANGED)
    values[0, :3] = 19
    write_image(label, values)
    dataset = datasets.open('cityscapes', root, 'val')
    report = check_split(dataset)
    assert [(problem.file, problem.kind) for problem in report.problems] == [(label, 'values')]
    assert report.pixels[19] == 3


def test_only_a_test_split_may_lack_labels(camvid):
    for path in (camvid / 'testannot').iterdir():
        path.unlink()
    assert problems('camvid', camvid, 'test') == []
    for path in (camvid / 'valannot').iterdir():
        path.unlink()
    assert {kind for _, kind in problems('camvid', camvid)} == {'missing'}
    assert len(problems('camvid', camvid)) == 6


def test_a_test_split_with_some_labels_needs_all(camvid):
    first, second = sorted((camvid / 'testannot').iterdir())
    first.unlink()
    assert problems('camvid', camvid, 'test') == [(camvid / 'test' / first.name, 'missing')]


def test_labels_without_an_image_are_reported(shared, tmp_path):
    """The ending of its name distinguishes a label from other files in its folder."""
    samples = shared / 'data/samples'
    city = tmp_path / 'cityscapes'
    shutil.copytree(samples / 'cityscapes_256x128', city)
    truth = next(city.rglob('*_labelIds.png'))
    orphan = truth.with_name('frankfurt_000009_000009_gtFine_labelIds.png')
    shutil.copy(truth, orphan)
    truth.with_name('frankfurt_000009_000009_gtFine_polygons.json').write_text('{}')
    truth.with_name('._frankfurt_000009_000009_gtFine_labelIds.png').write_text('of macOS')
    assert problems('cityscapes', city) == [(orphan, 'missing')]
    stuff = tmp_path / 'stuff'
    shutil.copytree(samples / 'cocostuff10k_from164k', stuff)
    orphan = stuff / 'annotations' / 'COCO_train2014_000000000001.mat'
    shutil.copy(next(stuff.glob('annotations/*.mat')), orphan)
    assert problems('cocostuff10k', stuff) == [(orphan, 'missing')]


def test_images_outside_the_lists_are_no_problem(shared, tmp_path):
    """VOC's folders contain more images than its lists."""
    shutil.copytree(shared / 'data/samples/VOCdevkit/VOC2012', tmp_path, dirs_exist_ok=True)
    names = tmp_path / 'ImageSets/Segmentation/val.txt'
    names.write_text('\n'.join(names.read_text().split()[:3]))
    assert problems('voc', tmp_path) == []


def test_labels_of_many_images_in_one_file_are_checked(shared):
    root = shared / 'data/samples/coco_instances'
    assert problems('cocoseg21', root) == []


def test_a_missing_split_is_named_with_its_remedy_unless_it_is_optional(camvid, caplog):
    root = camvid / 'own'
    for folder, source in (('images', 'val'), ('labels', 'valannot')):
        shutil.copytree(camvid / source, root / folder)
    (root / 'dataset.yaml').write_text(f'classes: {[f"class {i}" for i in range(12)]}')
    arguments = ['folder', '-d', str(root), '--check', '--processes', '1']
    assert run_command(prepare.build_parser, prepare.main, arguments) == 1
    val, test = (line for line in caplog.messages if line.split()[0].strip(':') in ('val', 'test'))
    assert val.startswith('val is skipped: ')
    assert 'which python -m datasets.prepare split writes' in val
    assert test == 'test: no images, skipped'


def test_colour_labels_without_class_colours_are_reported(camvid):
    """The description of a user's own data defines no colours."""
    root = camvid / 'own'
    for folder in ('images', 'labels'):
        (root / folder).mkdir(parents=True)
    (root / 'dataset.yaml').write_text('classes: [a, b]')
    for source in sorted((camvid / 'val').iterdir())[:2]:
        shutil.copy(source, root / 'images')
        write_image(root / 'labels' / source.name, np.ones((360, 480), np.uint8))
    colourful = root / 'labels' / source.name
    shutil.copy(source, colourful)
    assert problems('folder', root, 'train') == [(colourful, 'label')]


@pytest.mark.parametrize(
    'rows, hint', [(7, '; if they show a background, make it a class'), (3, '')]
)
def test_many_ignored_pixels_may_be_a_background(rows, hint, tmp_path, capsys):
    labels = np.zeros((8, 8), np.uint8)
    labels[:rows] = 255
    for name, picture in (('images', np.zeros((8, 8, 3), np.uint8)), ('labels', labels)):
        (tmp_path / name).mkdir()
        write_image(tmp_path / name / 'a.png', picture)
    (tmp_path / 'dataset.yaml').write_text('classes: [box]\nignore: [255]\n')
    arguments = ['folder', '-d', str(tmp_path), '--check']
    assert run_command(prepare.build_parser, prepare.main, arguments) == 0
    printed = capsys.readouterr().out.splitlines()
    assert f'ignored pixels: {100 * rows / 8:.3f} %{hint}' in printed
