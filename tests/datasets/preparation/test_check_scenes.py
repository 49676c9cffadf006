"""datasets.prepare --check and --stats with tasks: every problem of every file, facts per task."""

import json

import numpy as np
import pytest
from PIL import Image

import datasets
from common import command, once
from datasets import prepare, show
from datasets.preparation.check_scenes import check_scenes
from datasets.preparation.statistics import compute_statistics
from datasets.samples import SceneFiles
from support import scene_data
from support.street_scenes import write_cityscapes, write_kitti, write_png

TASKS = 'depth', 'segmentation', 'motion'


def opened(root, wanted=scene_data.ALL):
    return datasets.open('folder', root, 'train', complete=False, wanted=wanted)


def found(root):
    """Return path below the root and kind of each problem of a folder."""
    problems = check_scenes(opened(root)).problems
    return [(str(each.file.relative_to(root)), each.kind) for each in problems]


def run(capsys, *words):
    status = command.run_command(prepare.build_parser, prepare.main, [str(w) for w in words])
    captured = capsys.readouterr()
    return status, captured.out.splitlines(), captured.err


def test_scenes_without_problems_have_facts_of_each_task(tmp_path):
    scenes = scene_data.write_folder(tmp_path).values()
    dataset = opened(tmp_path)
    for processes in (1, 2):
        report = check_scenes(dataset, processes)
        assert report.problems == () and report.samples == 4
        motion = np.concatenate([scene['motion'].ravel() for scene in scenes])
        counts = report.scans['motion'].pixels
        assert [counts[0], counts[1], counts[255]] == [(motion == v).sum() for v in (0, 1, 128)]
        known = np.concatenate([scene['depth'][scene['depth'] > 0] for scene in scenes])
        assert report.depths['depth'].known == known.size
        facts = report.as_json(dataset)
        assert json.loads(json.dumps(facts)) == facts
        assert facts['tasks']['depth']['known'] == known.size / (4 * 24 * 40)
        assert list(facts['tasks']['segmentation']['classes']) == ['road', 'car', 'sky']


@pytest.mark.parametrize(
    'file, content, kind',
    [
        ('images/b.png', b'no image', 'image'),
        ('flow/b.png', np.zeros((24, 40), np.uint8), 'image'),
        ('flow/b.png', np.zeros((24, 60, 3), np.uint8), 'size'),
        ('depth/b.png', np.zeros((24, 40), np.uint8), 'label'),
        ('depth/b.png', np.full((24, 41), 9, np.uint16), 'size'),
        ('motion/b_m.png', np.full((24, 40), 9, np.uint8), 'label'),
        ('motion/b_m.png', np.zeros((23, 40), np.uint8), 'size'),
        ('labels/b.png', np.zeros((24, 41), np.uint8), 'size'),
    ],
)
def test_a_bad_file_is_reported_and_the_others_are_read(tmp_path, file, content, kind):
    scene_data.write_folder(tmp_path)
    if isinstance(content, bytes):
        (tmp_path / file).write_bytes(content)
    else:
        write_png(tmp_path / file, content)
    assert found(tmp_path) == [(file, kind)]


def test_unpaired_files_are_reported(tmp_path):
    scene_data.write_folder(tmp_path)
    for file in ('depth/a.png', 'flow/b.png', 'images/c.png'):
        (tmp_path / file).unlink()
    assert sorted(found(tmp_path)) == [
        ('depth/c.png', 'missing'),
        ('flow/c.png', 'missing'),
        ('images/a.png', 'missing'),
        ('images/b.png', 'missing'),
        ('labels/c.png', 'missing'),
        ('motion/c_m.png', 'missing'),
    ]


def test_missing_files_of_cityscapes_are_all_reported(tmp_path, capsys):
    """Opening it for training would end at the first."""
    names = [('train', 'ulm', f'ulm_000000_00000{n}') for n in range(4)]
    write_cityscapes(tmp_path, names)
    missing = (
        'disparity/train/ulm/ulm_000000_000000_disparity.png',
        'camera/train/ulm/ulm_000000_000001_camera.json',
        'gtFine/train/ulm/ulm_000000_000002_gtFine_labelTrainIds_motion.png',
        'leftImg8bit_flow_confidence_768x384/train/ulm/ulm_000000_000003_leftImg8bit.png',
    )
    for file in missing:
        (tmp_path / file).unlink()
    words = 'cityscapes', '-d', tmp_path, '--tasks', *TASKS, '--inputs', 2, '--split', 'train'
    status, lines, _ = run(capsys, *words, '--check', '--processes', 1)
    assert status == command.SOME_FAILED
    for file in missing[:3]:
        assert any(line.endswith(f'{tmp_path / file} is missing') for line in lines), file
    assert any('000003_leftImg8bit.png: it has no first picture' in line for line in lines)
    assert 'cityscapes train: 4 scenes, 4 problems' in lines


def test_a_missing_file_hides_no_other_problem(tmp_path):
    """Motion needs no camera file, and a camera image without flow is no flow."""
    write_cityscapes(tmp_path, [('train', 'ulm', 'ulm_000000_000000')])
    (tmp_path / 'camera/train/ulm/ulm_000000_000000_camera.json').unlink()
    flow = 'leftImg8bit_flow_confidence_768x384/train/ulm/ulm_000000_000000_leftImg8bit.png'
    (tmp_path / flow).unlink()
    grey = np.zeros((16, 32), np.uint8)
    write_png(tmp_path / 'leftImg8bit/train/ulm/ulm_000000_000000_leftImg8bit.png', grey)
    motion = tmp_path / 'gtFine/train/ulm/ulm_000000_000000_gtFine_labelTrainIds_motion.png'
    write_png(motion, np.full((16, 32), 7, np.uint8))
    dataset = datasets.open('cityscapes', tmp_path, 'train', complete=False, wanted=scene_data.ALL)
    kinds = [(each.kind, each.file.name) for each in check_scenes(dataset).problems]
    image = 'ulm_000000_000000_leftImg8bit.png'
    assert kinds == [('missing', image), ('missing', image), ('label', motion.name)]


def test_the_commands_print_facts_of_each_task(tmp_path, capsys):
    scene_data.write_folder(tmp_path)
    facts = tmp_path / 'facts.json'
    words = 'folder', '-d', tmp_path, '--tasks', *TASKS, '--inputs', 2, '--split', 'train'
    status, lines, error = run(
        capsys, *words, '--check', '--stats', '--json', facts, '--processes', 1
    )
    assert (status, error) == (0, '')
    assert 'folder train: 4 scenes, no problems' in lines
    assert '4 scenes of 2 pictures with depth, segmentation and motion' in lines
    assert any(line.startswith('depth: 4 files, ') and 'median' in line for line in lines)
    assert any(line.startswith('moving') for line in lines)
    results = json.loads(facts.read_text())
    means = [line for line in lines if line.startswith('mean: ')]
    stats = results['stats']['train']['tasks']
    view = datasets.open('folder', tmp_path, 'train', wanted=scene_data.ALL).of_task('motion')
    expected = compute_statistics(view)
    assert len(means) == 1 and results['stats']['train']['std'] == expected.std.tolist()
    assert stats['motion']['enet'] == dict(zip(('static', 'moving'), expected.enet().tolist()))
    assert stats['depth'] == results['check']['train']['tasks']['depth']


def test_a_data_set_of_depth_needs_no_option(tmp_path, capsys):
    write_kitti(tmp_path, [('train', '2011_09_26_drive_0001_sync'), ('val', '2011_09_28_x')])
    values = tmp_path / 'values.json'
    words = 'kitti_depth', '-d', tmp_path, '--check', '--stats', '--json', values
    status, lines, _ = run(capsys, *words)
    assert status == 0
    dataset = datasets.open('kitti_depth', tmp_path, 'train', wanted=SceneFiles(tasks=('depth',)))
    pixels = np.concatenate([dataset.image(i).reshape(-1, 3) for i in range(len(dataset))])
    found = json.loads(values.read_text())['stats']['train']['mean']
    assert np.allclose(found, pixels[:, ::-1].mean(axis=0), rtol=1e-9)
    assert [line for line in lines if 'scenes' in line] == [
        'kitti_depth train: 8 scenes, no problems',
        '8 scenes with depth',
        'kitti_depth val: 8 scenes, no problems',
        '8 scenes with depth',
    ]


def test_statistics_of_two_pictures_are_those_of_the_camera_image(tmp_path, capsys):
    scenes = scene_data.write_folder(tmp_path).values()
    words = 'folder', '-d', tmp_path, '--inputs', 2, '--processes', 1
    _, lines, _ = run(capsys, *words, '--stats')
    pixels = np.concatenate([scene['image'].reshape(-1, 3) for scene in scenes])
    mean = ', '.join(f'{value:.3f}' for value in pixels[:, ::-1].mean(axis=0))
    assert f'mean: [{mean}]' in lines


def test_turned_images_beside_depth_are_named(tmp_path, caplog, capsys):
    """Depth alone is a target, too, in both commands."""
    scene_data.write_folder(tmp_path, ['a'])
    (tmp_path / 'images/a.png').unlink()
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(np.zeros((24, 40, 3), np.uint8)).save(tmp_path / 'images/a.jpg', exif=exif)
    words = ['folder', '-d', str(tmp_path), '--tasks', 'depth', '--split', 'train']
    for main, builder, action in (
        (prepare.main, prepare.build_parser, ['--check']),
        (show.main, show.build_parser, ['-o', str(tmp_path / 'sheet.png')]),
    ):
        once.reset()
        caplog.clear()
        assert command.run_command(builder, main, [*words, *action]) == 0
        assert any('1 of 1 images have an EXIF orientation' in line for line in caplog.messages)


def test_depth_alone_is_not_packed(tmp_path, capsys):
    write_kitti(tmp_path / 'data', [('train', '2011_09_26_drive_0001_sync')])
    words = 'kitti_depth', '-d', tmp_path / 'data', '--split', 'train'
    status, _, error = run(capsys, *words, '--pack', tmp_path / 'packed')
    assert status == 2 and 'neither several inputs nor tasks' in error


def test_scenes_are_not_packed(tmp_path, capsys):
    scene_data.write_folder(tmp_path / 'data')
    words = 'folder', '-d', tmp_path / 'data', '--tasks', *TASKS, '--split', 'train'
    status, _, error = run(capsys, *words, '--pack', tmp_path / 'packed')
    assert status == 2 and 'neither several inputs nor tasks' in error
