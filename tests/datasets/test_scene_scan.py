"""Scans of scenes before a training: sizes of all files, and the unit of depth."""

from dataclasses import replace

import numpy as np
import pytest

import datasets
from common import command, once
from common.errors import InputError
from datasets import DataError, prepare, scene_scan
from datasets.samples import SceneFiles
from support import scene_data, stand_ins
from support.street_scenes import write_kitti, write_png

DEPTH = SceneFiles(tasks=('depth',))


def opened(root, wanted=scene_data.ALL):
    return datasets.open('folder', root, 'train', wanted=wanted)


def test_facts_of_depth_are_sums_over_parts(tmp_path):
    scenes = scene_data.write_folder(tmp_path)
    dataset = opened(tmp_path)
    whole = scene_scan.scan_scenes(dataset)
    halves = [scene_scan.scan_scenes(dataset.part(part)) for part in ((0, 1), (2, 3))]
    assert halves[0] + halves[1] == whole == scene_scan.scan_scenes(dataset, processes=2)
    facts = whole.depths['depth']
    depths = [np.float32(np.rint(scene['depth'] * 256) / 256) for scene in scenes.values()]
    known = np.concatenate([depth[depth > 0] for depth in depths])
    assert (facts.files, facts.pixels, facts.known) == (4, 4 * 24 * 40, known.size)
    assert (facts.least, facts.most) == (known.min(), known.max())
    assert facts.median == np.median([np.median(depth[depth > 0]) for depth in depths])
    assert whole.scenes == 4


@pytest.mark.parametrize('metres, told', [(0.05, True), (0.2, False), (70, False), (100, True)])
def test_an_implausible_median_is_told_once(tmp_path, caplog, metres, told):
    once.reset()
    description = 'tasks: {depth: {labels: depth, scale: 20}}\n'
    scene_data.write_folder(tmp_path, 'ab', description)
    for name in 'ab':
        write_png(tmp_path / f'depth/{name}.png', np.full((24, 40), metres * 20, np.uint16))
    dataset = opened(tmp_path, DEPTH)
    for _ in range(2):
        scene_scan.judge(dataset, scene_scan.scan_scenes(dataset))
    warnings = [record.message for record in caplog.records]
    assert len(warnings) == told
    if told:
        assert f'the median of depth is {metres:.3g}' in warnings[0]
        assert 'can hardly be right; is it in another unit than metres x 256?' in warnings[0]


def test_millimetres_of_a_street_are_told(tmp_path, caplog):
    """At the default scale of 256, values end at 256 m."""
    once.reset()
    metres = np.tile(np.linspace(4, 60, 40), (24, 1))
    scene_data.write_folder(tmp_path, 'a')
    write_png(tmp_path / 'depth/a.png', (metres * 1000).astype(np.uint16))
    dataset = opened(tmp_path, DEPTH)
    scene_scan.judge(dataset, scene_scan.scan_scenes(dataset))
    assert 'the median of depth is 125 m' in caplog.text and 'scale: 1000' in caplog.text


def test_photos_in_the_folder_of_flow_are_told_once(tmp_path, caplog, capsys):
    once.reset()
    scene_data.write_folder(tmp_path, 'ab')
    dataset = opened(tmp_path)
    scan = scene_scan.scan_scenes(dataset)
    scene_scan.judge(dataset, scan)
    assert len(scan.movements) == 2 and not caplog.messages
    for name in 'ab':
        photo = np.clip(np.random.RandomState(1).normal(70, 25, (24, 40, 3)), 0, 255)
        write_png(tmp_path / f'flow/{name}.png', photo.astype(np.uint8))
    for _ in range(2):
        scene_scan.judge(dataset, scene_scan.scan_scenes(dataset))
    (line,) = caplog.messages
    assert 'the median movement in its pictures of flow is 5' in line
    assert 'are they ordinary pictures? Those need input_kind: image;' in line
    once.reset()
    caplog.clear()
    words = ['folder', '-d', str(tmp_path), '--inputs', '2', '--split', 'train', '--check']
    assert command.run_command(prepare.build_parser, prepare.main, words) == command.DONE
    assert 'are they ordinary pictures?' in caplog.text
    as_images = opened(tmp_path, SceneFiles(2, input_kind='image'))
    assert scene_scan.scan_scenes(as_images).movements == ()


@pytest.mark.parametrize('array', [np.zeros((24, 40), np.uint8), np.zeros((24, 40, 3), np.uint16)])
def test_files_that_are_no_flow_are_found_before_training(tmp_path, array):
    scene_data.write_folder(tmp_path, 'ab')
    write_png(tmp_path / 'flow/b.png', array)
    with pytest.raises(InputError, match='flow/b.png: .*, but optical flow is an 8-bit RGB PNG'):
        scene_scan.scan_scenes(opened(tmp_path))


def test_depth_that_is_nowhere_known_is_refused(tmp_path):
    scene_data.write_folder(tmp_path)
    for name in 'abcd':
        write_png(tmp_path / f'depth/{name}.png', np.zeros((24, 40), np.uint16))
    dataset = opened(tmp_path)
    with pytest.raises(DataError, match='the split train has no pixel of known depth in 4 files'):
        scene_scan.judge(dataset, scene_scan.scan_scenes(dataset))


@pytest.mark.parametrize(
    'file, array',
    [
        ('depth/d', np.zeros((24, 39), np.uint16)),
        ('labels/d', np.zeros((23, 40), np.uint8)),
        ('motion/d_m', np.zeros((40, 24), np.uint8)),
        ('flow/d', np.zeros((24, 30, 3), np.uint8)),
    ],
)
def test_a_size_that_differs_is_found_without_decoding(tmp_path, file, array, monkeypatch):
    """Also beyond the scenes whose depth is read."""
    scene_data.write_folder(tmp_path)
    write_png(tmp_path / f'{file}.png', array)
    monkeypatch.setattr(scene_scan, 'MAX_READ_SCENES', 1)
    dataset = opened(tmp_path)
    with pytest.raises(InputError, match=f'{file}.png: {array.shape[1]}x{array.shape[0]} pixels'):
        scene_scan.scan_scenes(dataset)
    assert scene_scan.scan_scenes(dataset, skip_bad=True).scenes == 3
    (tmp_path / f'{file}.png').unlink()
    with pytest.raises(InputError, match=f'{file}.png: cannot be read'):
        scene_scan.scan_scenes(dataset)


def test_images_of_other_formats_are_compared_as_well(tmp_path):
    scene_data.write_folder(tmp_path)
    for name in 'abcd':
        (tmp_path / f'images/{name}.png').unlink()
        write_png(tmp_path / f'images/{name}.jpg', stand_ins.image(24, 40))
    assert scene_scan.scan_scenes(opened(tmp_path)).scenes == 4
    write_png(tmp_path / 'images/c.jpg', stand_ins.image(24, 41))
    with pytest.raises(InputError, match='c.png: 40x24 pixels, but its image .*c.jpg has 41x24'):
        scene_scan.scan_scenes(opened(tmp_path))


def test_of_many_scenes_some_are_examined(tmp_path, monkeypatch):
    write_kitti(tmp_path, [('train', '2011_09_26_drive_0001_sync')])
    dataset = datasets.open('kitti_depth', tmp_path, 'train', wanted=DEPTH)
    monkeypatch.setattr(scene_scan, 'MAX_SCENES', 4)
    monkeypatch.setattr(scene_scan, 'MAX_READ_SCENES', 2)
    scan = scene_scan.scan_scenes(dataset)
    assert (len(dataset), scan.scenes, scan.depths['depth'].files) == (8, 4, 2)
    none = replace(dataset, samples=())
    assert scene_scan.scan_scenes(none) == scene_scan.SceneScan()
