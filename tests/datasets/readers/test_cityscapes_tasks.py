"""Depth, motion and optical flow of Cityscapes: values, pairs by name, missing and wrong files."""

import json

import numpy as np
import pytest

import datasets
from common.errors import InputError
from datasets import DataError
from datasets.readers import cityscapes, cityscapes_tasks
from datasets.samples import SceneFiles
from support.street_scenes import FOCAL_LENGTH, write_cityscapes, write_png

FRAMES = (
    ('train', 'aachen', 'aachen_000000_000019'),
    ('train', 'bochum', 'bochum_000000_000313'),
    ('val', 'lindau', 'lindau_000000_000019'),
)
ALL = SceneFiles(2, ('depth', 'segmentation', 'motion'))


@pytest.fixture
def root(tmp_path):
    write_cityscapes(tmp_path, FRAMES)
    return tmp_path


def one(pattern, root):
    return next(root.glob(pattern))


def test_depth_equals_tis_values_but_for_infinity(shared, root):
    """A disparity of 0, which TI reads as 1 m, is infinitely far, so its depth is unknown."""
    values = json.loads((shared / 'reference_tasks/losses_metrics.json').read_text())
    golden = values['loaders']['cityscapes_disparity']
    path = one('disparity/train/aachen/*', root)
    write_png(path, np.array([golden['png16']], np.uint16))
    camera = {'extrinsic': {'baseline': golden['baseline']}, 'intrinsic': {'fx': golden['fx']}}
    cityscapes_tasks.camera_file(path).write_text(json.dumps(camera))
    found = cityscapes_tasks.read_depth(path)
    expected = np.array([golden['depth']])
    infinite = np.array(golden['png16']) == 1
    assert np.allclose(found[0, ~infinite], expected[0, ~infinite], rtol=1e-6)
    assert expected[0, infinite] == 1.0 and found[0, infinite] == 0.0
    assert found.dtype == np.float32


def test_motion_equals_tis_classes_and_other_values_are_refused(shared, root):
    values = json.loads((shared / 'reference_tasks/losses_metrics.json').read_text())
    golden = values['loaders']['cityscapes_motion']
    path = one('gtFine/train/aachen/*_motion.png', root)
    table = dict(zip(golden['png8'], golden['classes']))
    write_png(path, np.array([[0, 255, 255, 0]], np.uint8))
    assert cityscapes_tasks.read_motion(path).tolist() == [[table[v] for v in (0, 255, 255, 0)]]
    for value in (1, 128, 254):
        write_png(path, np.array([[0, value]], np.uint8))
        with pytest.raises(InputError, match=f'_motion.png: holds the values {value}, which have'):
            cityscapes_tasks.read_motion(path)


def test_a_scene_has_the_wanted_pictures_and_targets_in_their_order(root):
    dataset = datasets.open('cityscapes', root, 'train', wanted=ALL)
    assert [sample.name for sample in dataset] == [f'{city}/{name}' for _, city, name in FRAMES[:2]]
    assert [task.name for task in dataset.tasks] == ['depth', 'segmentation', 'motion']
    assert [task.channels for task in dataset.tasks] == [1, 19, 2]
    assert dataset.flow == (True, False)
    sample = dataset[1]
    assert [path.parts[-4] for path in sample.pictures] == [
        'leftImg8bit_flow_confidence_768x384',
        'leftImg8bit',
    ]
    scene = dataset.scene(1)
    assert [picture.shape for picture in scene.pictures] == [(8, 16, 3), (16, 32, 3)]
    assert {task: values.dtype for task, values in scene.targets.items()} == {
        'depth': np.float32,
        'segmentation': np.uint8,
        'motion': np.uint8,
    }
    expected = cityscapes.decode(one('gtFine/train/bochum/*_labelIds.png', root))
    assert np.array_equal(scene.targets['segmentation'], expected)
    assert dataset.info.of_task('motion').classes == ('static', 'moving')
    assert dataset.info.of_task('motion').of_task('segmentation') == dataset.info
    assert len(datasets.open('cityscapes', root, 'trainval', wanted=ALL)) == 3


def test_one_task_alone_is_the_label(root):
    """Whatever works on labels works on the view of a task: classes, scans, statistics."""
    both = datasets.open('cityscapes', root, 'train', wanted=SceneFiles(tasks=('depth', 'motion')))
    assert both.info.classes == ('static', 'moving')
    motion = datasets.open('cityscapes', root, 'train', wanted=SceneFiles(tasks=('motion',)))
    for dataset in (both, motion, both.of_task('motion')):
        assert np.array_equal(dataset.label(0), both.target(0, 'motion'))
    depth = datasets.open('cityscapes', root, 'train', wanted=SceneFiles(tasks=('depth',)))
    assert depth.info.classes == () and depth[0].label is None
    with pytest.raises(DataError, match='depth is depth and has no classes'):
        both.of_task('depth')


def test_flow_is_paired_by_the_name_of_the_frame(root):
    """Other endings are possible; the order of the files does not matter."""
    folder = root / 'leftImg8bit_flow_confidence_768x384/train/aachen'
    path = next(folder.iterdir())
    flow = folder / 'aachen_000000_000019_flow.png'
    path.rename(flow)
    write_png(folder / 'aachen_000000_000001_flow.png', np.zeros((8, 16, 3), np.uint8))
    dataset = datasets.open('cityscapes', root, 'train', wanted=SceneFiles(2))
    assert dataset[0].pictures[0] == flow
    assert dataset.describe().startswith('2 scenes of 2 pictures with a label; 1 not used: ')
    assert 'aachen_000000_000001_flow.png (flow without an image)' in dataset.describe()
    write_png(folder / 'aachen_000000_000019_other.png', np.zeros((8, 16, 3), np.uint8))
    with pytest.raises(DataError, match='_other.png and aachen_000000_000019_flow.png are of the'):
        datasets.open('cityscapes', root, 'train', wanted=SceneFiles(2))


def test_a_list_restricts_scenes_as_well(root):
    (root / 'train.txt').write_text('bochum/bochum_000000_000313\n')
    dataset = datasets.open('cityscapes', root, 'train', wanted=ALL)
    assert [sample.name for sample in dataset] == ['bochum/bochum_000000_000313']
    assert 'flow without' not in dataset.describe()


@pytest.mark.parametrize(
    'pattern, message',
    [
        ('disparity/train/aachen/*', 'no depth, .*_disparity.png is missing; 1 of 2 images have'),
        ('gtFine/train/aachen/*_motion.png', 'no motion, .*_motion.png is missing; 1 of 2 images'),
        ('camera/train/aachen/*', '.*aachen_000000_000019_camera.json is missing, which its'),
        (
            'leftImg8bit_flow_confidence_768x384/train/aachen/*',
            'no flow; 1 of 2 images have none: python -m datasets.prepare flow computes them',
        ),
        ('gtFine/train/aachen/*_labelIds.png', 'no segmentation, .*_labelIds.png is missing; 1 of'),
    ],
)
def test_a_missing_file_is_named_with_the_number_of_all(root, pattern, message):
    one(pattern, root).unlink()
    with pytest.raises(DataError, match=f'aachen_000000_000019_leftImg8bit.png: {message}'):
        datasets.open('cityscapes', root, 'train', wanted=ALL)
    assert len(datasets.open('cityscapes', root, 'train', wanted=ALL, complete=False)) == 2


def test_what_cityscapes_does_not_have_is_refused(root):
    for wanted, message in (
        (SceneFiles(tasks=('lanes',)), 'no classes for the task lanes; it has depth, motion'),
        (SceneFiles(tasks=('left_depth',)), 'no targets for the task left_depth; it has dep'),
        (SceneFiles(2, input_folder='nothing'), 'nothing: no such folder, but inputs: 2 needs'),
        (SceneFiles(tasks=('motion', 'motion')), 'tasks: names motion twice'),
        (SceneFiles(3), 'inputs: must be at least 1 and at most 2'),
    ):
        with pytest.raises(DataError, match=message):
            datasets.open('cityscapes', root, 'train', wanted=wanted)
    with pytest.raises(DataError, match='a list names an image and a label a line'):
        datasets.open('cityscapes', root, 'train', root / 'a.txt', wanted=ALL)


def test_the_frame_before_can_be_the_second_picture(root):
    for _, city, name in FRAMES[:2]:
        before = root / f'leftImg8bit_before/train/{city}/{name}_leftImg8bit.png'
        write_png(before, np.full((16, 32, 3), 7, np.uint8))
    wanted = SceneFiles(2, (), 'leftImg8bit_before', 'image')
    dataset = datasets.open('cityscapes', root, 'train', wanted=wanted)
    assert dataset.flow == (False, False) and (dataset.image(0)[..., :3] == 7).all()


def test_of_the_sequences_the_first_picture_is_the_frame_before(root):
    for _, city, name in FRAMES[:2]:
        for number in range(-2, 2):
            frame = f'{name[:-6]}{int(name[-6:]) + number:06d}_leftImg8bit.png'
            path = root / f'leftImg8bit_sequence/train/{city}/{frame}'
            write_png(path, np.full((16, 32, 3), 50 + number, np.uint8))
    wanted = SceneFiles(2, (), 'leftImg8bit_sequence', 'image')
    dataset = datasets.open('cityscapes', root, 'train', wanted=wanted)
    assert [sample.pictures[0].name for sample in dataset] == [
        'aachen_000000_000018_leftImg8bit.png',
        'bochum_000000_000312_leftImg8bit.png',
    ]
    assert (dataset.image(1)[..., :3] == 49).all() and not dataset.unused
    dataset[0].pictures[0].unlink()
    with pytest.raises(DataError, match='aachen_000000_000019_leftImg8bit.png: no .*; 1 of 2'):
        datasets.open('cityscapes', root, 'train', wanted=wanted)


@pytest.mark.parametrize(
    'folder, kind, problem',
    [
        ('leftImg8bit_sequence', 'flow', 'holds camera images, not optical flow; set input_kind'),
        ('leftImg8bit_sequence', None, 'holds camera images, not optical flow; set input_kind'),
        ('leftImg8bit', 'flow', 'input_folder must name the folder of the first pictures alone'),
        ('leftImg8bit', 'image', 'input_folder must name the folder of the first pictures alone'),
        ('.', 'image', 'input_folder must name the folder of the first pictures alone'),
        ('link', 'image', 'input_folder must name the folder of the first pictures alone'),
        ('gtFine', 'image', 'of the same frame; keep one of them, or name another .* input_folder'),
    ],
)
def test_folders_without_first_pictures_are_refused(root, folder, kind, problem):
    (root / 'leftImg8bit_sequence').mkdir()
    (root / 'link').symlink_to('leftImg8bit')
    with pytest.raises(DataError, match=problem) as error:
        datasets.open('cityscapes', root, 'train', wanted=SceneFiles(2, (), folder, kind))
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    'text, problem',
    [
        ('{', 'not valid JSON'),
        ('[]', 'not a JSON object'),
        ('{}', 'not a camera of Cityscapes: intrinsic.fx must be a positive number'),
        ('{"intrinsic": {"fx": 0}, "extrinsic": {"baseline": 1}}', 'intrinsic.fx must be'),
        ('{"intrinsic": {"fx": 1e9}, "extrinsic": {"baseline": 1}}', 'intrinsic.fx must be'),
        ('{"intrinsic": {"fx": true}, "extrinsic": {"baseline": 1}}', 'intrinsic.fx must be'),
        ('{"intrinsic": {"fx": 9}, "extrinsic": [1]}', 'extrinsic.baseline must be a positive'),
    ],
)
def test_a_wrong_camera_is_refused(root, text, problem):
    one('camera/train/aachen/*', root).write_text(text)
    dataset = datasets.open('cityscapes', root, 'train', wanted=ALL)
    with pytest.raises(InputError, match=f'aachen_000000_000019_camera.json: .*{problem}'):
        dataset.target(0, 'depth')


def test_wrong_targets_are_refused(root):
    dataset = datasets.open('cityscapes', root, 'train', wanted=ALL)
    path = one('disparity/train/aachen/*', root)
    write_png(path, np.zeros((16, 32), np.uint8))
    with pytest.raises(InputError, match='8-bit grey, but a depth map must be a 16-bit grey PNG'):
        dataset.scene(0)
    write_png(path, np.full((16, 30), 999, np.uint16))
    with pytest.raises(InputError, match='_disparity.png: 30x16 pixels, but its image .* 32x16; t'):
        dataset.scene(0)


def test_the_nearest_depth_is_a_metre_and_the_farthest_255(root):
    path = one('disparity/train/aachen/*', root)
    depth = cityscapes_tasks.read_depth(path)
    known = depth[depth > 0]
    assert known.min() >= 1 and known.max() == 255
    disparity = (cityscapes_tasks.depth_files.read_values(path)[1:].astype(float) - 1) / 256
    plain = FOCAL_LENGTH * 0.209313 / np.where(disparity > 0, disparity, np.inf)
    within = (plain > 1) & (plain < 255)
    assert within.any() and np.allclose(depth[1:][within], plain[within], rtol=1e-6)


def test_genuine_frames_have_no_depth(shared):
    """The reference material has images and labels only; a missing target is named."""
    root = shared / 'data/samples/cityscapes'
    with pytest.raises(DataError, match='no depth, .*_disparity.png is missing; 3 of 3 images'):
        datasets.open('cityscapes', root, 'train', wanted=SceneFiles(tasks=('depth',)))
    wanted = SceneFiles(tasks=('segmentation',))
    dataset = datasets.open('cityscapes', root, 'val', wanted=wanted)
    plain = datasets.open('cityscapes', root, 'val')
    assert np.array_equal(dataset.target(0, 'segmentation'), plain.label(0))
