"""KITTI depth: the official layout, lists of drives, pairs by name, and what is missing."""

import json

import numpy as np
import pytest

import datasets
from datasets import DataError
from datasets.samples import SceneFiles
from support.street_scenes import write_kitti, write_png

DRIVES = (
    ('train', '2011_09_26_drive_0001_sync'),
    ('train', '2011_09_28_drive_0002_sync'),
    ('val', '2011_09_26_drive_0005_sync'),
)
WANTED = SceneFiles(tasks=('depth',))


def opened(root, split='train'):
    return datasets.open('kitti_depth', root, split, wanted=WANTED)


@pytest.mark.parametrize(
    'below', ['{date}/{drive}', 'raw/{date}/{drive}', '{split}/{drive}'], ids=['raw', 'below', 'ti']
)
def test_images_are_found_where_users_unpack_them(tmp_path, below):
    """All four middle frames of both cameras, paired by name."""
    values = write_kitti(tmp_path, DRIVES, below=below)
    dataset = opened(tmp_path)
    assert [sample.name for sample in dataset] == sorted(n for n in values if '_0005_' not in n)
    assert len(dataset) == 16 and len(opened(tmp_path, 'val')) == 8
    assert not dataset.unused, 'the first and last five frames have no depth by design'
    for index, sample in enumerate(dataset):
        assert sample.image.stem == sample.target('depth').stem
        assert sample.image.parts[-3] == sample.target('depth').parts[-2]
        expected = np.float32(values[sample.name] / 256)
        assert np.array_equal(dataset.target(index, 'depth'), expected)
        assert dataset.image(index).shape == (12, 40, 3)


def test_depth_equals_tis_values(shared, tmp_path):
    golden = json.loads((shared / 'reference_tasks/losses_metrics.json').read_text())
    golden = golden['loaders']['kitti_depth_png']
    write_kitti(tmp_path, DRIVES)
    dataset = opened(tmp_path)
    write_png(dataset[0].target('depth'), np.array([golden['png16']], np.uint16))
    assert np.allclose(dataset.target(0, 'depth'), [golden['depth']], rtol=0, atol=0)


@pytest.mark.parametrize(
    'line, count',
    [
        ('2011_09_28_drive_0002_sync', 8),
        ('train/2011_09_28_drive_0002_sync', 8),
        ('2011_09_28\\2011_09_28_drive_0002_sync\\image_03', 4),
        ('2011_09_28_drive_0002_sync/image_02\n\n2011_09_26_drive_0005_sync', 12),
    ],
)
def test_lists_name_drives_and_cameras(tmp_path, line, count):
    write_kitti(tmp_path, DRIVES)
    (tmp_path / 'train.txt').write_text(f'{line}\n')
    dataset = opened(tmp_path)
    assert len(dataset) == count
    assert dataset[0].name.startswith('2011_09_28_drive_0002_sync/')


def test_wrong_lists_are_refused(tmp_path):
    write_kitti(tmp_path, DRIVES)
    for line, message in (
        ('2011_09_26_drive_0009_sync', 'line 1: no depth maps of 2011_09_26_drive_0009_sync; exp'),
        ('../2011_09_26_drive_0001_sync', 'line 1: .* leads out of'),
        (
            '2011_09_26_drive_0001_sync/image_02\n\n2011_09_26_drive_0001_sync',
            'train.txt, line 3: image_02 of 2011_09_26_drive_0001_sync is in line 1 as well; keep',
        ),
    ):
        (tmp_path / 'train.txt').write_text(line)
        with pytest.raises(DataError, match=message):
            opened(tmp_path)


def test_a_depth_map_without_an_image_is_named_with_the_remedy(tmp_path):
    write_kitti(tmp_path, DRIVES)
    folder = tmp_path / '2011_09_26/2011_09_26_drive_0001_sync/image_02/data'
    (folder / '0000000006.png').unlink()
    message = 'image_02/0000000006.png: no image, .*/data/0000000006.png is missing; 1 of 4 depth'
    with pytest.raises(DataError, match=message):
        opened(tmp_path)


def test_an_image_within_a_drive_without_depth_is_counted(tmp_path):
    write_kitti(tmp_path, DRIVES)
    folder = tmp_path / 'train/2011_09_26_drive_0001_sync/proj_depth/groundtruth/image_03'
    (folder / '0000000006.png').unlink()
    dataset = opened(tmp_path)
    assert len(dataset) == 15
    assert dataset.describe().startswith('15 scenes with depth; 1 not used: 2011_09_26/')
    assert dataset.describe().endswith('image_03/data/0000000006.png (no depth)')


def test_other_tasks_and_inputs_are_refused(tmp_path):
    write_kitti(tmp_path, DRIVES)
    for wanted, message in (
        (SceneFiles(), 'kitti_depth has no classes for segmentation; set tasks, of which it has d'),
        (SceneFiles(tasks=('segmentation',)), 'kitti_depth has no classes for the task segm'),
        (SceneFiles(tasks=('depth', 'motion')), 'kitti_depth has no classes for the task motio'),
        (SceneFiles(2, ('depth',)), 'the data set kitti_depth has one picture of each'),
    ):
        with pytest.raises(DataError, match=message):
            datasets.open('kitti_depth', tmp_path, 'train', wanted=wanted)


def test_the_folder_is_recognised(tmp_path):
    write_kitti(tmp_path / 'data/kitti', DRIVES)
    with pytest.raises(DataError, match=f'it is in {tmp_path}/data/kitti; name that folder'):
        opened(tmp_path)
