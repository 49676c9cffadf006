"""infer.py and exported files with two pictures a scene and three tasks."""

import shutil

import cv2
import numpy as np
import onnx
import pytest
import yaml

from common.errors import UserError
from datasets import depth_files
from datasets.preparation.flow.compute import flow_picture
from engine import Segmenter
from support import export_runs, infer_runs, runtime_runs, task_networks
from support.exported_files import resealed
from support.infer_runs import read_video

NNABLA = ('-c', 'cpu', '--backend', 'nnabla')


@pytest.fixture(scope='module')
def folder(tmp_path_factory, shared):
    """A folder with the config, two scenes, and a video."""
    folder = tmp_path_factory.mktemp('scenes')
    task_networks.write_config(folder, shared)
    (folder / 'images').mkdir()
    (folder / 'flow').mkdir()
    flow, image = task_networks.pictures()
    for number, name in enumerate('ab'):
        cv2.imwrite(str(folder / f'images/{name}.png'), np.roll(image, 9 * number, axis=1))
        cv2.imwrite(str(folder / f'flow/{name}.png'), np.roll(flow, 9 * number, axis=1))
    frames = [np.roll(image, 2 * number, axis=1) for number in range(3)]
    infer_runs.write_video(str(folder / 'drive.avi'), frames)
    return folder


def infer(folder, *arguments):
    assert infer_runs.started('-cfg', folder / 'scenes.yaml', *NNABLA, *arguments) == 0


def test_pictures_and_maps_of_every_task_are_written(folder, tmp_path, capsys):
    images, flows = folder / 'images', folder / 'flow'
    infer(folder, '-i', images, '--first-input', flows, '-o', tmp_path, '--save-labels')
    segmenter = Segmenter(folder / 'scenes.yaml', context='cpu', backend='nnabla')
    for name in 'ab':
        own = segmenter((flows / f'{name}.png', images / f'{name}.png'))
        labels = cv2.imread(str(tmp_path / f'{name}_labels.png'), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(labels, own.labels)
        motion = cv2.imread(str(tmp_path / f'{name}_motion_labels.png'), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(motion, own.tasks['motion'].labels)
        metres = depth_files.read(tmp_path / f'{name}_depth_metres.png')
        assert np.abs(metres - own.tasks['depth'].depth).max() <= 0.5 / 256 + 1e-6
    assert len(list(tmp_path.iterdir())) == 2 * 6


def test_a_single_scene_prints_all_tasks(folder, tmp_path, capsys):
    flow, image = folder / 'flow/a.png', folder / 'images/a.png'
    infer(folder, '-i', image, '--first-input', flow, '-o', tmp_path / 'a.png')
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in printed if line.endswith(':')] == [
        'segmentation:',
        'depth:',
        'motion:',
    ]
    assert any('m, the median' in line for line in printed)


def test_the_flow_of_a_video_comes_from_its_frames(folder, tmp_path):
    infer(folder, '-i', folder / 'drive.avi', '-o', tmp_path / 'drive.avi', '--save-labels')
    _, frames = read_video(folder / 'drive.avi')
    segmenter = Segmenter(folder / 'scenes.yaml', context='cpu', backend='nnabla')
    flow, _ = flow_picture(frames[0], frames[1])
    own = segmenter((flow, frames[1]))
    labels = cv2.imread(str(tmp_path / 'drive/00000002_motion_labels.png'), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(labels, own.tasks['motion'].labels)
    _, written = read_video(tmp_path / 'drive.avi')
    assert len(written) == len(frames)
    assert written[0].shape[1] > 3 * frames[0].shape[1]  # three pictures and the bar of metres


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((), 'pass the first one, or a folder of them, with --first-input'),
        (('--first-input', 'missing'), 'there is no such file or folder'),
        (('--first-input', 'images/a.png'), 'is one picture, but there are 2 images'),
        (('--first-input', 'empty'), 'the first picture of its scene is missing'),
    ],
)
def test_a_missing_first_picture_is_named(
    folder, tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(folder)
    (folder / 'empty').mkdir(exist_ok=True)
    error = infer_runs.refused(
        capsys, '-cfg', 'scenes.yaml', '-i', 'images', '-o', tmp_path, *NNABLA, *arguments
    )
    assert message in error


def test_one_missing_first_picture_costs_one_line(folder, tmp_path, capsys):
    """The other images of a folder are done, as beside a damaged image."""
    (tmp_path / 'flow').mkdir()
    shutil.copy(folder / 'flow/b.png', tmp_path / 'flow')
    status = infer_runs.started(
        '-cfg', folder / 'scenes.yaml', *NNABLA, '-i', folder / 'images',
        '--first-input', tmp_path / 'flow', '-o', tmp_path / 'out',
    )  # fmt: skip
    output = capsys.readouterr()
    (line,) = (line for line in output.err.splitlines() if line.startswith('error: '))
    assert status == 1
    assert f'a.png: the first picture of its scene is missing: {tmp_path / "flow/a.png"}' in line
    assert '1 of 2 files' in output.out
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {
        'b.jpg', 'b_depth.jpg', 'b_motion.jpg',
    }  # fmt: skip


def test_flow_of_another_shape_is_refused(folder, tmp_path, capsys):
    """A rounded side is none: flow of half the size of an odd image."""
    flow, image = task_networks.pictures(71, 91)
    cv2.imwrite(str(tmp_path / 'image.png'), image)
    cv2.imwrite(str(tmp_path / 'fits.png'), flow)
    cv2.imwrite(str(tmp_path / 'other.png'), flow[:, :30])
    options = ['-i', tmp_path / 'image.png', '-o', tmp_path / 'out.png', '--first-input']
    infer(folder, *options, tmp_path / 'fits.png')
    capsys.readouterr()
    error = infer_runs.refused(
        capsys, '-cfg', folder / 'scenes.yaml', *NNABLA, *options, tmp_path / 'other.png'
    )
    assert (
        'image.png: the first picture of the scene has 30x35 pixels, and the image 91x71' in error
    )


def test_a_first_picture_for_a_network_with_one_is_refused(folder, capsys, tmp_path):
    error = infer_runs.refused(
        capsys, *infer_runs.CAMVID, '-i', infer_runs.STREET, '--first-input', folder / 'flow/a.png',
        '-o', tmp_path / 'a.jpg',
    )  # fmt: skip
    assert 'takes one picture' in error


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        ('maps.onnx', ('--output', 'maps', '--size', 'dynamic')),
        ('probabilities.onnx', ('--output', 'probabilities', '--size', '80x96')),
        ('labels.xml', ('--output', 'labels', '--size', 'dynamic', '--normalise')),
    ],
)
def test_exported_files_take_the_place_of_weights(folder, tmp_path, name, options, capsys):
    path = tmp_path / name
    assert export_runs.started('-cfg', folder / 'scenes.yaml', '-o', path, *options) == 0
    assert 'depth: largest difference' in capsys.readouterr().out
    flow, image = task_networks.pictures(80, 96)
    whole = Segmenter(folder / 'scenes.yaml', context='cpu', backend='nnabla')((flow, image))
    found = Segmenter(weights=path)((flow, image))
    assert list(found.tasks) == list(whole.tasks)
    # A file that takes bytes gets rounded flow.
    rounded = name == 'labels.xml'
    assert np.mean(found.labels == whole.labels) > (0.98 if rounded else 0.9999)
    assert found.tasks['motion'].classes == ('static', 'moving')
    depth, expected = found.tasks['depth'].depth, whole.tasks['depth'].depth
    assert np.abs(depth - expected).max() < (0.1 if rounded else 1e-3) * expected.max()


def test_a_file_of_labels_has_no_probabilities_of_any_task(folder, tmp_path):
    path = tmp_path / 'labels.onnx'
    options = '--output', 'labels', '--size', '80x96'
    assert export_runs.started('-cfg', folder / 'scenes.yaml', '-o', path, *options) == 0
    found = Segmenter(weights=path)(task_networks.pictures(80, 96))
    for task in ('segmentation', 'motion'):
        with pytest.raises(UserError, match='its output are labels'):
            found.tasks[task].confidence  # noqa: B018


def test_a_file_whose_tasks_are_not_those_of_its_config_is_refused(folder, tmp_path, capsys):
    path = tmp_path / 'a.onnx'
    options = '--output', 'maps', '--size', '80x96'
    assert export_runs.started('-cfg', folder / 'scenes.yaml', '-o', path, *options) == 0
    model = onnx.load(path)
    for entry in model.metadata_props:  # whose results would go to files that nobody checked
        if entry.key in ('tasks', 'task_classes'):
            entry.value = entry.value.replace('motion', 'others')
    path.write_bytes(resealed(model.SerializeToString()))
    with pytest.raises(UserError, match='tasks are not those of its config'):
        Segmenter(weights=path)


def test_a_task_can_have_the_name_of_the_input(folder, tmp_path, capsys):
    config = tmp_path / 'image.yaml'
    values = {**task_networks.KEYS, 'inputs': 1, 'tasks': ['segmentation', 'image']}
    values |= {'task_channels': [19, 2], 'weights': 'random'}
    del values['depth_range']
    config.write_text(yaml.safe_dump(values))
    path = tmp_path / 'a.onnx'
    options = '--output', 'maps', '--size', '64x64'
    assert export_runs.started('-cfg', config, '-o', path, *options) == 0
    assert [each.name for each in onnx.load(path).graph.output] == ['segmentation', 'image_output']


def test_int8_of_a_network_with_two_pictures_is_refused(folder, tmp_path, capsys):
    options = '--backend', 'openvino', '--precision', 'int8', '--calibration', folder / 'images'
    error = infer_runs.refused(
        capsys, '-cfg', folder / 'scenes.yaml', '-i', folder / 'images/a.png', '-c', 'cpu',
        '--first-input', folder / 'flow/a.png', '-o', tmp_path / 'a.png', *options,
    )  # fmt: skip
    assert 'is calibrated on single pictures' in error


def test_scenes_without_contrast_are_compared_on_a_photo(folder):
    grey = np.full((80, 96, 3), 128, np.uint8)
    found = Segmenter(folder / 'scenes.yaml', context='cpu', backend='onnxruntime')((grey, grey))
    plain = Segmenter(folder / 'scenes.yaml', context='cpu', backend='nnabla')((grey, grey))
    assert np.mean(found.labels == plain.labels) > 0.999


def test_a_first_picture_is_not_overwritten(folder, tmp_path, capsys):
    flow = shutil.copy(folder / 'flow/a.png', tmp_path / 'flow.png')
    error = infer_runs.refused(
        capsys, '-cfg', folder / 'scenes.yaml', '-i', folder / 'images/a.png', *NNABLA,
        '--first-input', flow, '-o', flow,
    )  # fmt: skip
    assert 'is the first picture of a scene and would be overwritten' in error


def test_formats_with_one_output_are_refused(folder, tmp_path, capsys):
    path = tmp_path / 'a.nnp'
    assert export_runs.started('-cfg', folder / 'scenes.yaml', '-o', path, '--size', '80x96') == 2
    assert 'exported to .onnx and .xml only' in capsys.readouterr().err


def test_the_runtime_without_the_project_refuses_such_files(folder, tmp_path, capsys):
    path = tmp_path / 'a.onnx'
    options = '--output', 'maps', '--size', '80x96'
    assert export_runs.started('-cfg', folder / 'scenes.yaml', '-o', path, *options) == 0
    capsys.readouterr()
    error = runtime_runs.refused(
        capsys, path, '-i', folder / 'images/a.png', '-o', tmp_path / 'x.png'
    )
    assert 'takes several pictures or has several tasks' in error
