"""The data set of a config with inputs and tasks: its files, its classes, and what does not fit."""

import numpy as np
import pytest

from common.errors import UserError
from engine.config import class_info, loading
from engine.config.data import check_classes, open_dataset, with_input_kind
from engine.inference import scene
from support import scene_data
from support.street_scenes import write_cityscapes

NETWORK = 'network: deeplabv3plus_mobilenetv2_tv_edgeailite\n'
ALL = 'inputs: 2\ntasks: [depth, segmentation, motion]\ntask_channels: [1, 3, 2]\n'


@pytest.fixture
def root(tmp_path):
    scene_data.write_folder(tmp_path / 'data')
    return tmp_path / 'data'


@pytest.fixture
def load(tmp_path):
    """Function that loads a config of some lines."""

    def load(text, dataset='folder'):
        path = tmp_path / 'config.yaml'
        path.write_text(f'{NETWORK}dataset: {dataset}\n{text}')
        return loading.load(path)

    return load


def test_pictures_and_targets_are_those_of_the_config(load, root):
    config = load(f'{ALL}depth_range: [0, 100]\n')
    dataset = open_dataset(config, 'train', root)
    assert [(task.name, task.channels, task.range) for task in dataset.tasks] == [
        ('depth', 1, (0.0, 100.0)),
        ('segmentation', 3, None),
        ('motion', 2, None),
    ]
    assert dataset.flow == (True, False) and dataset.image(0).shape == (24, 40, 6)
    assert dataset.target(0, 'depth').dtype == np.float32
    assert dataset.info.classes == ('road', 'car', 'sky')
    assert dataset.info.of_task('motion').classes == ('static', 'moving')


def test_without_the_keys_nothing_is_added(load, root):
    dataset = open_dataset(load('num_classes: 3\n'), 'train', root)
    assert dataset.tasks == () and dataset.flow == (False,)
    assert dataset[0].pictures == () and dataset[0].targets == ()


def test_two_inputs_need_no_tasks(load, root):
    dataset = open_dataset(load('inputs: 2\nnum_classes: 3\n'), 'train', root)
    assert dataset.tasks == () and dataset.flow == (True, False)
    (root / 'flow').rename(root / 'before')
    keys = 'inputs: 2\nnum_classes: 3\ninput_folder: before\ninput_kind: image\n'
    assert open_dataset(load(keys), 'train', root).flow == (False, False)


def test_classes_are_counted_in_the_data(load, root):
    """Of segmentation; other tasks need the key task_channels."""
    config = load(f'tasks: [depth, segmentation]\ndata_dir: {root}\n')
    assert config['num_classes'] == 3
    assert open_dataset(config, 'train').tasks[1].channels == 3


def test_names_of_the_config_are_those_of_the_first_task_with_classes(load, root):
    keys = 'tasks: [depth, motion, segmentation]\ntask_channels: [1, 2, 3]\nclasses: [no, yes]\n'
    info = open_dataset(load(keys), 'train', root).info
    assert info.task == 'motion' and info.classes == ('no', 'yes')
    assert info.of_task('segmentation').classes == ('road', 'car', 'sky')
    assert info.of_task('segmentation').of_task('motion').classes == ('no', 'yes')
    config = load(keys.replace('[no, yes]', '[moving, static]'))
    with pytest.raises(UserError, match='same classes in another order'):
        check_classes(('moving', 'static'), 'the config', config, root, 'rename them')


def test_classes_have_names_without_the_data(load):
    info = class_info(load(ALL))
    assert info.classes == ('class 0', 'class 1', 'class 2')
    assert info.of_task('motion').classes == ('class 0', 'class 1')
    assert len(info.of_task('motion').palette) == 2
    depth = class_info(load('tasks: [depth]\n'))
    assert depth.classes == ('class 0',)


def test_names_of_further_tasks_are_those_of_the_config(load, root):
    own = 'task_classes: {motion: {classes: [resting, moving], palette: [[1, 2, 3], [4, 5, 6]]}}\n'
    for info in (class_info(load(ALL + own)), open_dataset(load(ALL + own), 'train', root).info):
        motion = info.of_task('motion')
        assert motion.classes == ('resting', 'moving')
        assert motion.palette == ((1, 2, 3), (4, 5, 6))
    names = 'task_classes: {motion: {classes: [static, moving]}}\n'
    colours = [
        open_dataset(load(ALL + keys), 'train', root).info.of_task('motion').palette
        for keys in (names, '')
    ]
    assert colours[0] == colours[1]  # those of the data set
    inherited = loading.load(
        load(ALL + own).path, ['tasks=[depth, segmentation]', 'task_channels=[1, 3]']
    )
    assert 'task_classes' not in inherited
    with pytest.raises(UserError, match=r'task_classes: motion: no task .* \(.*config.yaml\)'):
        load(f'num_classes: 3\n{own}')


def test_cityscapes_has_three_tasks(load, tmp_path):
    write_cityscapes(tmp_path / 'city', [('train', 'ulm', 'ulm_000000_000019')])
    config = load(ALL.replace('3, 2', '19, 2'), 'cityscapes')
    dataset = open_dataset(config, 'train', tmp_path / 'city')
    assert [task.channels for task in dataset.tasks] == [1, 19, 2]
    assert dataset.info.of_task('segmentation').categories is not None
    motion = load('tasks: [motion]\ntask_channels: [2]\n', 'cityscapes')
    assert class_info(motion).classes == ('static', 'moving')


@pytest.mark.parametrize(
    'keys, problem',
    [
        ('tasks: [depth, lanes]\ntask_channels: [1, 4]', 'no classes for the task lanes; it has'),
        ('tasks: [left_depth]', 'no targets for the task left_depth; it has depth, motion, seg'),
        ('tasks: [depth]\ninputs: 2\ninput_folder: x', 'x: no such folder, but inputs: 2 needs a'),
        (
            'tasks: [segmentation, motion]\ntask_channels: [3, 4]',
            'task_channels: 4 for motion, but the data set folder has 2 classes for it, static, mo',
        ),
        (
            'tasks: [motion, segmentation]\ntask_channels: [3, 3]',
            'task_channels: 3 for motion, but the data set folder has 2 classes for it, static, mo',
        ),
        (
            'tasks: [segmentation]\ntask_channels: [19]',
            'task_channels: 19 for segmentation, but the data set folder has 3 classes for it, ro',
        ),
    ],
)
def test_what_does_not_fit_the_data_is_one_line(load, root, keys, problem):
    with pytest.raises(UserError, match=problem) as error:
        open_dataset(load(f'{keys}\n'), 'train', root)
    assert '\n' not in str(error.value)


def test_a_list_of_images_cannot_have_tasks(load, root):
    (root / 'list.txt').write_text('images/a.png labels/a.png\n')
    with pytest.raises(UserError, match='list.txt: a list names an image and a label a line'):
        open_dataset(load(ALL), 'train', root, root / 'list.txt')


def test_the_kind_of_first_pictures_is_that_of_the_data(load, root):
    """Inference treats them as training does: the data set decides where the config does not."""
    (root / 'dataset.yaml').write_text(f'{scene_data.DESCRIPTION}input_kind: image\n')
    config = load(f'{ALL}data_dir: {root}\n')
    assert scene.flow_of(config, 2) == open_dataset(config, 'train').flow == (False, False)
    assert scene.flow_of(load(f'{ALL}data_dir: {root}\ninput_kind: flow\n'), 2) == (True, False)
    assert scene.flow_of(load(ALL), 2) == (True, False)
    assert with_input_kind(load(ALL), root)['input_kind'] == 'image'
    assert scene.flow_of(load('num_classes: 3\n'), 1) == (False,)
    (root / 'dataset.yaml').unlink()
    assert scene.flow_of(load(f'{ALL}data_dir: {root}\n'), 2) == (True, False)
