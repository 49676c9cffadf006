"""Scenes of a data set: pictures at one size, views of one task, what a data set says of itself."""

import pickle

import numpy as np
import pytest

import datasets
from common.errors import InputError
from datasets import label_scan
from datasets.samples import SceneFiles
from support import scene_data
from support.street_scenes import write_png


def opened(root, wanted=scene_data.ALL):
    return datasets.open('folder', root, 'train', wanted=wanted)


def test_a_data_set_with_tasks_can_be_sent_to_workers(tmp_path):
    scene_data.write_folder(tmp_path)
    dataset = opened(tmp_path)
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy.tasks == dataset.tasks and copy.flow == dataset.flow
    for task in ('depth', 'segmentation', 'motion'):
        assert np.array_equal(copy.target(2, task), dataset.target(2, task))


def test_the_view_of_a_task_is_a_data_set_of_images_and_labels(tmp_path):
    scenes = scene_data.write_folder(tmp_path)
    dataset = opened(tmp_path)
    view = dataset.of_task('motion')
    assert view.info.classes == ('static', 'moving') and view.tasks == ()
    assert view.describe() == '4 pairs'
    image, label = view.pair(1)
    assert np.array_equal(image, scenes['b']['image'])
    assert set(np.unique(label)) == {0, 1, 255}
    scan = label_scan.scan_labels(view)
    assert scan.missing_classes(view.info) == [] and scan.labels == 4
    assert view.label_files() == [tmp_path / f'motion/{name}_m.png' for name in 'abcd']
    plain = datasets.open('folder', tmp_path, 'train')
    assert dataset.of_task('segmentation').samples == plain.samples
    scans = [label_scan.ScanCache(each, False)._path() for each in (view, plain)]
    assert scans[0] != scans[1]


def test_pictures_of_other_sizes_are_stacked_at_that_of_the_camera_image(tmp_path):
    """A second camera picture is resized like any image, flow with its vectors."""
    scene_data.write_folder(tmp_path)
    small = np.full((12, 20, 3), (10, 128 + 5, 128 - 7), np.uint8)
    write_png(tmp_path / 'flow/a.png', small)
    as_flow = opened(tmp_path).image(0)[..., :3]
    assert (as_flow == (10, 128 + 10, 128 - 14)).all()
    wanted = SceneFiles(2, ('depth',), input_kind='image')
    as_image = opened(tmp_path, wanted).image(0)[..., :3]
    assert (as_image == small[0, 0]).all()
    large = np.zeros((48, 80, 3), np.uint8)
    large[...] = (10, 128 + 20, 128 - 40)
    write_png(tmp_path / 'flow/a.png', large)
    assert (opened(tmp_path).image(0)[..., :3] == (10, 128 + 10, 128 - 20)).all()


@pytest.mark.parametrize('height, width, fits', [(12, 20, True), (12, 21, True), (12, 22, False)])
def test_a_picture_of_another_shape_is_of_another_scene(tmp_path, height, width, fits):
    scene_data.write_folder(tmp_path)
    write_png(tmp_path / 'flow/a.png', np.zeros((height, width, 3), np.uint8))
    if fits:
        assert opened(tmp_path).image(0).shape == (24, 40, 6)
    else:
        with pytest.raises(InputError, match='another shape; do they belong together'):
            opened(tmp_path).image(0)


def test_info_can_change_its_task_and_back():
    info = datasets.info('cityscapes')
    motion = info.of_task('motion')
    assert (motion.task, motion.classes) == ('motion', ('static', 'moving'))
    assert motion.categories is None and info.categories is not None
    assert motion.of_task('segmentation') == info
    assert motion.of_task('segmentation').of_task('motion') == motion
    with pytest.raises(datasets.DataError, match='cityscapes has no classes for lanes; it has dep'):
        motion.of_task('lanes')
