"""A user's own folder with depth, further classes and a second picture of each scene."""

import numpy as np
import pytest

import datasets
from common import once
from common.errors import InputError
from datasets import DataError, label_scan
from datasets.samples import SceneFiles
from support import scene_data
from support.street_scenes import write_png

ALL = scene_data.ALL


def opened(root, split='train', wanted=ALL):
    return datasets.open('folder', root, split, wanted=wanted)


def test_all_arrays_are_read_by_the_names_of_the_images(tmp_path):
    scenes = scene_data.write_folder(tmp_path)
    dataset = opened(tmp_path)
    assert [sample.name for sample in dataset] == ['a', 'b', 'c', 'd'] and not dataset.unused
    for index, sample in enumerate(dataset):
        scene, expected = dataset.scene(index), scenes[sample.name]
        flow, image = scene.pictures
        assert np.array_equal(flow, expected['flow'])
        assert np.array_equal(image, expected['image'])
        assert np.array_equal(dataset.image(index), np.dstack([flow, image]))
        assert np.array_equal(scene.targets['depth'], np.float32(expected['depth']))
        assert np.array_equal(scene.targets['segmentation'], expected['label'])
        motion = np.where(expected['motion'] == 128, 255, expected['motion'])
        assert np.array_equal(scene.targets['motion'], motion)


def test_the_label_alone_is_read_as_without_tasks(tmp_path):
    scene_data.write_folder(tmp_path)
    plain = datasets.open('folder', tmp_path, 'train')
    assert plain.tasks == () and plain.flow == (False,) and plain.describe() == '4 pairs'
    assert plain[0].pictures == () and plain[0].targets == ()


@pytest.mark.parametrize('layout', ['folders', 'lists', 'sub-folders', 'one folder'])
def test_splits_and_places_hold_for_all_files(tmp_path, layout):
    """Targets have the path of their image, in whatever folders these are."""
    description, names = scene_data.DESCRIPTION, ['a', 'b', 'c']
    if layout == 'folders':
        names = ['train/a', 'train/b', 'val/c']
    elif layout == 'sub-folders':
        names = ['x/a', 'x/y/a', 'b']
    scene_data.write_folder(tmp_path, names, description)
    wanted = ALL
    if layout == 'lists':
        (tmp_path / 'train.txt').write_text('b\na.png\n')
        (tmp_path / 'val.txt').write_text('images/c.png\n')
    if layout == 'one folder':
        (tmp_path / 'dataset.yaml').write_text(
            'classes: [road, car, sky]\nimages: .\nlabels: .\nlabel_suffix: _L\n'
            'input_folder: flow\n'
            'tasks: {depth: {labels: ., label_suffix: _D}, motion: {labels: motion, label_suffix: '
            '_m, classes: [static, moving], ignore: [128]}}\n'
        )
        for name in names:
            (tmp_path / f'images/{name}.png').rename(tmp_path / f'{name}.png')
            (tmp_path / f'labels/{name}.png').rename(tmp_path / f'{name}_L.png')
            (tmp_path / f'depth/{name}.png').rename(tmp_path / f'{name}_D.png')
    train = opened(tmp_path, wanted=wanted)
    expected = {
        'folders': ['a', 'b'],
        'lists': ['b', 'a'],
        'sub-folders': ['b', 'x/a', 'x/y/a'],
        'one folder': ['a', 'b', 'c'],
    }[layout]
    assert [sample.name for sample in train] == expected
    assert not train.unused, train.describe()
    for index in range(len(train)):
        assert list(train.scene(index).targets) == ['depth', 'segmentation', 'motion']
    if layout in ('folders', 'lists'):
        assert [sample.name for sample in opened(tmp_path, 'val')] == ['c']


def test_images_without_a_target_and_targets_without_an_image_are_not_used(tmp_path, caplog):
    scene_data.write_folder(tmp_path)
    for file in ('depth/a.png', 'motion/b_m.png', 'flow/c.png', 'images/d.png'):
        (tmp_path / file).unlink()
    scene_data.write_scene(tmp_path, 'e', scene_data.arrays(5))
    dataset = opened(tmp_path)
    assert [sample.name for sample in dataset] == ['e']
    reasons = {str(file.path.relative_to(tmp_path)): file.reason for file in dataset.unused}
    assert reasons == {
        'images/a.png': 'no depth',
        'images/b.png': 'no motion',
        'images/c.png': 'no flow',
        'labels/d.png': 'a label without an image',
        'depth/d.png': 'depth without an image',
        'motion/d_m.png': 'motion without an image',
        'flow/d.png': 'flow without an image',
    }
    dataset.log_counts()
    record = caplog.records[-1]
    assert record.levelname == 'WARNING'
    assert '1 scene of 2 pictures with depth, segmentation and motion; 7 not used' in record.message


@pytest.mark.parametrize('depth, mask', [('', '_L'), ('_D', ''), ('_L', '_D_L')])
def test_kinds_in_one_folder_are_told_apart_by_their_suffix(tmp_path, depth, mask):
    """A file belongs to the longest suffix, also where another kind has none."""
    scenes = scene_data.write_folder(
        tmp_path,
        'ab',
        f'classes: [road, car, sky]\nlabels: truth\nlabel_suffix: "{mask}"\n'
        f'tasks: {{depth: {{labels: truth, label_suffix: "{depth}"}}}}\n',
    )
    (tmp_path / 'truth').mkdir()
    for name in 'ab':
        (tmp_path / f'depth/{name}.png').rename(tmp_path / f'truth/{name}{depth}.png')
        (tmp_path / f'labels/{name}.png').rename(tmp_path / f'truth/{name}{mask}.png')
    for tasks in (('depth', 'segmentation'), ('segmentation',), ('depth',), ()):
        dataset = opened(tmp_path, wanted=SceneFiles(tasks=tasks))
        assert [sample.name for sample in dataset] == ['a', 'b'], tasks
        if len(tasks) != 1:
            assert np.array_equal(dataset.label(1), scenes['b']['label'])
    assert not opened(tmp_path, wanted=SceneFiles(tasks=('depth', 'segmentation'))).unused


@pytest.mark.parametrize('folder', ['images', '.', 'flow/../images'])
def test_the_images_are_no_first_pictures(tmp_path, folder):
    scene_data.write_folder(tmp_path)
    with pytest.raises(DataError, match='input_folder must name the folder of the first pictures'):
        opened(tmp_path, wanted=SceneFiles(2, input_folder=folder))


def test_first_pictures_that_are_images_are_called_so(tmp_path):
    scene_data.write_folder(tmp_path)
    for file in ('flow/a.png', 'images/b.png'):
        (tmp_path / file).unlink()
    found = opened(tmp_path, wanted=SceneFiles(2, input_kind='image')).describe()
    assert 'images/a.png (no first picture)' in found
    assert 'flow/b.png (first picture without an image)' in found


def test_the_test_split_has_pictures_without_targets(tmp_path):
    scene_data.write_folder(tmp_path, ['train/a', 'test/b'])
    for folder in ('depth', 'labels'):
        (tmp_path / folder / 'test/b.png').unlink()
    dataset = opened(tmp_path, 'test')
    assert dataset.pictures(0)[0].shape == (24, 40, 3)
    assert (
        dataset.describe()
        == '0 scenes of 2 pictures with depth, segmentation and motion and 1 without'
    )
    with pytest.raises(InputError, match='the split test has no depth'):
        dataset.target(0, 'depth')


def test_depth_has_the_scale_of_the_description(tmp_path):
    description = 'tasks: {depth: {labels: depth, scale: 1000}}\n'
    scenes = scene_data.write_folder(tmp_path, description=description)
    dataset = opened(tmp_path, wanted=SceneFiles(tasks=('depth',)))
    expected = np.float32(np.rint(scenes['a']['depth'] * 256) / 1000)
    assert np.array_equal(dataset.target(0, 'depth'), expected)
    assert not dataset.info.classes and dataset.info.tasks() == ['depth']
    with pytest.raises(DataError, match='folder has no classes for segmentation; set tasks, of wh'):
        datasets.open('folder', tmp_path, 'train')


def test_names_that_yaml_reads_as_other_values_are_kept_in_tasks(tmp_path):
    description = 'classes: [road, car, sky]\ntasks: {lamp: {labels: motion, classes: [off, on]}}\n'
    scene_data.write_folder(tmp_path, description=description)
    assert datasets.info('folder', tmp_path).of_task('lamp').classes == ('off', 'on')


@pytest.mark.parametrize(
    'text, problem',
    [
        ('tasks: [depth]', 'tasks must have a line for each task, such as depth: {labels: depth}'),
        ('tasks: {depth: depth}', 'tasks must have a line for each task'),
        ('tasks: {Depth: {labels: a}}', 'tasks: a name has lower-case letters'),
        ('tasks: {segmentation: {labels: a, classes: [b]}}', 'segmentation is the task of classes'),
        ('tasks: {a: {}, b: {}, c: {}, d: {}, e: {}}', 'tasks: must be at most 4, not 5'),
        ('tasks: {depth: {}}', 'task depth: labels must be text, not None'),
        ('tasks: {depth: {labels: a, scales: 4}}', 'depth: unknown key scales; the nearest is sca'),
        ('tasks: {depth: {labels: a, classes: [b]}}', 'task depth: unknown key classes; the near'),
        ('tasks: {depth: {labels: a, scale: 0}}', 'depth: scale is the values of a metre, 0.01'),
        ('tasks: {depth: {labels: a, scale: true}}', 'depth: scale is the values of a metre'),
        ('tasks: {depth: {labels: a, label_suffix: 3}}', 'depth: label_suffix must be text'),
        ('tasks: {motion: {labels: a}}', 'task motion: classes must be 1 to 255 different names'),
        (
            'tasks: {motion: {labels: a, classes: [b, b]}}',
            'task motion: classes must .* b is there',
        ),
        ('tasks: {motion: {labels: a, classes: [b], images: c}}', 'motion: unknown key images'),
        ('tasks: {motion: {classes: [b]}}', 'task motion: labels must be text, not None'),
        ('classes: [a]\ninput_folder: 3', 'input_folder must be text, not 3'),
        ('classes: [a]\ninput_kind: thermal', 'input_kind must be flow or image'),
    ],
)
def test_a_wrong_description_is_refused(tmp_path, text, problem):
    (tmp_path / 'dataset.yaml').write_text(text)
    with pytest.raises(DataError, match=f'dataset.yaml.*{problem}') as error:
        datasets.info('folder', tmp_path)
    assert '\n' not in str(error.value)


def test_tasks_that_are_not_described_are_refused(tmp_path):
    scene_data.write_folder(tmp_path)
    with pytest.raises(DataError, match='no targets for the task left_depth; it has depth, mot'):
        opened(tmp_path, wanted=SceneFiles(tasks=('left_depth',)))
    with pytest.raises(DataError, match='no classes for the task lanes; it has depth, motion, s'):
        opened(tmp_path, wanted=SceneFiles(tasks=('lanes',)))
    for path in (tmp_path / 'depth').iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r'nothing found for the split train; .* 4 not used: image'):
        opened(tmp_path)


@pytest.mark.parametrize(
    'file, array, problem',
    [
        ('depth/a', np.zeros((24, 41), np.uint16), 'depth/a.png: 41x24 pixels, but its image .*/a'),
        ('depth/a', np.zeros((24, 40), np.uint8), 'a.png: 8-bit grey, but a depth map must be a'),
        ('depth/a', np.zeros((24, 40, 3), np.uint16), 'a.png: 16-bit colour, but a depth map must'),
        ('motion/a_m', np.full((24, 40), 7, np.uint8), 'motion/a_m.png: .*7'),
        ('motion/a_m', np.zeros((12, 40), np.uint8), 'motion/a_m.png: 40x12 pixels, but its image'),
        ('labels/a', np.zeros((12, 20), np.uint8), 'labels/a.png: 20x12 pixels, but its image'),
        ('flow/a', np.zeros((24, 40), np.uint8), 'flow/a.png: 8-bit, of the PNG colour type 0, b'),
        ('flow/a', np.zeros((24, 40, 3), np.uint16), 'flow/a.png: 16-bit, of the PNG colour type'),
        ('flow/a', np.zeros((20, 20, 3), np.uint8), 'flow/a.png: 20x20 pixels, but .*images/a.pn'),
    ],
)
def test_a_file_that_does_not_fit_is_named(tmp_path, file, array, problem):
    scene_data.write_folder(tmp_path)
    write_png(tmp_path / f'{file}.png', array)
    with pytest.raises(InputError, match=problem):
        opened(tmp_path).scene(0)


def test_masks_of_tasks_are_judged_together(tmp_path):
    """Values 0 and 255 alone may be two classes, whatever task they are of."""
    once.reset()
    scene_data.write_folder(tmp_path)
    for name in 'abcd':
        write_png(tmp_path / f'motion/{name}_m.png', np.full((24, 40), 255, np.uint8))
        write_png(tmp_path / f'motion/{name}_m.png', np.tile([0, 255], (24, 20)).astype(np.uint8))
    view = opened(tmp_path).of_task('motion')
    with pytest.raises(DataError, match='_m.png: the 4 label files have no other values than 0'):
        label_scan.judge(view, label_scan.scan_labels(view))
