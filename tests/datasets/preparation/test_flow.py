"""python -m datasets.prepare flow: vectors and confidence, which frames follow, and resuming."""

import json
import os
import shutil
import time

import cv2
import numpy as np
import pytest

import datasets
from common import command
from datasets import optical_flow, prepare
from datasets.optical_flow import U, V
from datasets.preparation.flow import compute, frames
from datasets.preparation.flow.compute import DIS, FARNEBACK, METHODS, flow_picture
from datasets.preparation.flow.writing import RECORD
from datasets.samples import SceneFiles
from support.street_scenes import write_cityscapes, write_png


def textured(height, width, seed=0):
    """Return a smooth random texture, in which movement can be seen, (H, W, 3) uint8."""
    noise = np.random.RandomState(seed).rand(height, width, 3).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def moved(image, right, down):
    matrix = np.float32([[1, 0, right], [0, 1, down]])
    return cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT)


def write_video(clip, path, frames=5):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 10, (96, 64))
    for number in range(frames):
        writer.write(cv2.imread(str(clip / f'images/clip_{number:03d}.png')))
    writer.release()


def run(*words):
    return prepare.run(['flow', *map(str, words)])


@pytest.fixture
def clip(tmp_path):
    """Five frames, in each of which everything moves 3 pixels to the right and 2 upwards."""
    for number in range(5):
        image = moved(textured(64, 96), 3 * number, -2 * number)
        write_png(tmp_path / f'images/clip_{number:03d}.png', image)
    return tmp_path


@pytest.mark.parametrize('method', METHODS)
def test_the_vectors_are_the_movement_since_the_frame_before(method):
    before = textured(96, 128)
    picture, cut = flow_picture(before, moved(before, 5, -3), method)
    inner = picture[16:-16, 16:-16].astype(int)
    assert cut == 0 and picture.dtype == np.uint8
    assert np.median(inner[..., U]) == 128 + 5 and np.median(inner[..., V]) == 128 - 3
    assert (abs(inner[..., U] - 133) <= 1).mean() > 0.9
    assert np.median(inner[..., 0]) > 200


@pytest.mark.parametrize('method', METHODS)
def test_what_cannot_be_found_again_has_little_confidence(method):
    """A part of the frame shows something else; the rest stands still."""
    before, now = textured(96, 128), textured(96, 128)
    now[30:66, 40:88] = textured(96, 128, seed=9)[30:66, 40:88]
    picture, _ = flow_picture(before, now, method)
    still = picture[:20].astype(int)
    assert abs(still[..., [U, V]] - 128).mean() < 1 and still[..., 0].mean() > 230
    assert picture[36:60, 46:82, 0].mean() < still[..., 0].mean() - 60


def test_an_unknown_movement_has_no_confidence(monkeypatch):
    back, forth = (np.zeros((32, 32, 2), np.float32) for _ in range(2))
    back[4, 4], forth[9, 9] = np.nan, np.nan
    flows = iter((back, forth))
    monkeypatch.setattr(compute, '_flow', lambda *_: next(flows))
    picture, _ = flow_picture(textured(32, 32), textured(32, 32))
    assert picture[4, 4].tolist() == [0, 128, 128] and picture[9, 9, 0] == 0
    assert picture[20, 20].tolist() == [255, 128, 128]


def test_what_enters_the_frame_has_no_confidence():
    """The picture moves 6 pixels to the right, so its first columns were not to be seen."""
    wide = textured(96, 160)
    picture, _ = flow_picture(wide[:, 14:142], wide[:, 8:136], DIS)
    inner = picture[16:-16]
    assert np.median(inner[:, 16:, U]) == 128 + 6
    assert inner[:, :4, 0].mean() < 64 < 200 < inner[:, 16:, 0].mean()


def test_the_command_writes_flow_for_each_frame_but_the_first(clip, capsys):
    assert run(clip / 'images', '-o', clip / 'flow') == command.DONE
    out = capsys.readouterr().out
    assert '4 pictures of flow written, 0 up to date, 0 failed' in out
    assert '1 frame without a frame before: clip_000.png' in out
    names = sorted(path.name for path in (clip / 'flow').glob('[!.]*'))
    assert names == [f'clip_{number:03d}.png' for number in range(1, 5)]
    for name in names:
        inner = optical_flow.read(clip / 'flow' / name)[12:-12, 16:-16]
        assert (np.median(inner[..., U]), np.median(inner[..., V])) == (131, 126)


def test_its_result_is_a_data_set_with_two_inputs(clip):
    run(clip / 'images', '-o', clip / 'flow', '--method', 'dis')
    (clip / 'dataset.yaml').write_text('classes: [still, moving]\n')
    for number in range(5):
        write_png(clip / f'labels/clip_{number:03d}.png', np.zeros((64, 96), np.uint8))
    dataset = datasets.open('folder', clip, 'train', wanted=SceneFiles(2))
    assert dataset.describe() == (
        '4 scenes of 2 pictures with a label; 1 not used: images/clip_000.png (no flow)'
    )


def test_an_interrupted_run_resumes(clip, capsys):
    """Complete files are kept; damaged ones, and those older than a frame, are written again."""
    words = clip / 'images', '-o', clip / 'flow', '--height', 32
    assert run(*words) == command.DONE
    flows = sorted((clip / 'flow').glob('[!.]*'))
    assert optical_flow.read(flows[0]).shape == (32, 48, 3)
    expected = [path.read_bytes() for path in flows]
    flows[0].write_bytes(expected[0][:-10])
    flows[1].unlink()
    later = time.time() + 10
    os.utime(clip / 'images/clip_004.png', (later, later))
    capsys.readouterr()
    assert run(*words) == command.DONE
    assert '3 pictures of flow written, 1 up to date, 0 failed' in capsys.readouterr().out
    assert [path.read_bytes() for path in flows] == expected
    capsys.readouterr()
    assert run(*words, '--method', 'dis') == 2
    error = capsys.readouterr().err
    frames_of_it = clip.resolve() / 'images'
    assert f'were computed with method farneback, height 32, frames {frames_of_it}; rep' in error


def test_frames_of_another_folder_with_the_same_names_are_refused(clip, capsys):
    words = '-o', clip / 'flow', '--height', 32
    assert run(clip / 'images', *words) == command.DONE
    shutil.copytree(clip / 'images', clip / 'other')
    capsys.readouterr()
    assert run(clip / 'other', *words) == 2
    error = capsys.readouterr().err
    assert f'frames {clip.resolve()}/images; repeat the command with these, or name a new' in error
    record = clip / 'flow' / RECORD
    document = json.loads(record.read_text())
    record.write_text(json.dumps({key: document[key] for key in ('method', 'height')}))
    assert run(clip / 'images', *words) == 2
    assert 'frames unknown (by an older version)' in capsys.readouterr().err
    record.write_text(json.dumps(document))
    (clip / 'moved').mkdir()
    for folder in ('images', 'flow'):
        (clip / folder).rename(clip / 'moved' / folder)
    assert run(clip / 'moved/images', '-o', clip / 'moved/flow', '--height', 32) == command.DONE
    assert ', 4 up to date' in capsys.readouterr().out


def test_results_do_not_depend_on_the_number_of_processes(clip):
    for processes in (1, 2):
        folder = clip / f'flow{processes}'
        assert run(clip / 'images', '-o', folder, '--processes', processes) == command.DONE
    for path in (clip / 'flow1').glob('[!.]*'):
        assert path.read_bytes() == (clip / 'flow2' / path.name).read_bytes()


def test_a_bad_frame_fails_alone(clip, capsys):
    write_png(clip / 'images/clip_002.png', textured(64, 90))
    assert run(clip / 'images', '-o', clip / 'flow') == command.SOME_FAILED
    out = capsys.readouterr().out
    assert '2 pictures of flow written, 0 up to date, 2 failed' in out
    assert 'clip_002.png: 90x64 pixels, but the frame before, ' in out


def test_cityscapes_images_follow_frames_of_the_sequences(tmp_path, capsys):
    names = ('train', 'aachen', 'aachen_000000_000019'), ('val', 'ulm', 'ulm_000000_000010')
    write_cityscapes(tmp_path, names, 64, 128)
    shutil.rmtree(tmp_path / 'leftImg8bit_flow_confidence_768x384')
    for split, city, name in names:
        image = tmp_path / f'leftImg8bit/{split}/{city}/{name}_leftImg8bit.png'
        write_png(image, moved(textured(64, 128), 4, 0))
        sequence = tmp_path / f'leftImg8bit_sequence/{split}/{city}'
        for number in (17, 18, 19):
            frame = f'{name[:-6]}{number:06d}_leftImg8bit.png'
            write_png(sequence / frame, moved(textured(64, 128), 4 * (number - 18), 0))
    (tmp_path / 'leftImg8bit_sequence').rename(tmp_path / 'elsewhere')
    assert run(tmp_path, '-o', tmp_path / 'flow') == 2
    error = capsys.readouterr().err
    assert 'no leftImg8bit_sequence, which has' in error
    assert 'unpack leftImg8bit_sequence_trainvaltest.zip there' in error
    (tmp_path / 'elsewhere').rename(tmp_path / 'leftImg8bit_sequence')
    assert run(tmp_path, '--height', 32) == command.DONE
    out = capsys.readouterr().out
    assert '1 picture of flow written, 0 up to date, 0 failed' in out
    assert '1 frame without a frame before: ulm_000000_000010_leftImg8bit.png' in out
    wanted = SceneFiles(2, ('depth', 'segmentation', 'motion'))
    dataset = datasets.open('cityscapes', tmp_path, 'train', wanted=wanted)
    flow = dataset.pictures(0)[0]
    assert flow.shape == (32, 64, 3) and np.median(flow[8:-8, 8:-8, U]) == 130


@pytest.mark.parametrize(
    'names, expected',
    [
        (['a_1.png', 'a_2.png', 'a_10.png', 'a_11.png'], {'a_2': 'a_1', 'a_11': 'a_10'}),
        (['s_000010.png', 's_000020.png', 's_000040.png'], {'s_000020': 's_000010'}),
        (['x1_01.png', 'x1_02.png', 'x2_02.png'], {'x1_02': 'x1_01'}),
        (
            ['a_000000_000018_leftImg8bit.png', 'a_000000_000019_leftImg8bit.png'],
            {'a_000000_000019_leftImg8bit': 'a_000000_000018_leftImg8bit'},
        ),
        (['p/1.png', 'p/2.png', 'q/3.png'], {'p/2': 'p/1'}),
        (
            ['a_1.png', 'a_2.png', 'b_10.png', 'b_20.png', 'b_40.png'],
            {'a_2': 'a_1', 'b_20': 'b_10'},
        ),
        (['a_1.png', 'a_01.png', 'a_2.png'], {'a_2': 'a_1'}),
        (['1.jpg', '2.png'], {'2': '1'}),
    ],
)
def test_the_last_number_that_differs_counts_the_frames(tmp_path, names, expected):
    for name in names:
        write_png(tmp_path / name, np.zeros((2, 2, 3), np.uint8))
    found = frames.of_folder(tmp_path)
    before = {
        pair.name: pair.previous.relative_to(tmp_path).with_suffix('').as_posix()
        for pair in found.pairs
    }
    assert before == expected
    assert len(found.alone) == len(names) - len(expected)


def test_a_video_is_split_into_frames_first(clip, capsys):
    video = clip / 'clip.avi'
    write_video(clip, video)
    words = video, '-o', clip / 'flow', '--images', clip / 'frames'
    assert run(*words) == command.DONE
    assert sorted(p.name for p in (clip / 'frames').glob('[!.]*')) == [
        f'{number:06d}.png' for number in range(5)
    ]
    flow = optical_flow.read(clip / 'flow/000003.png')[12:-12, 16:-16]
    assert abs(np.median(flow[..., U]) - 131) <= 1 and abs(np.median(flow[..., V]) - 126) <= 1
    capsys.readouterr()
    assert run(*words) == command.DONE
    assert '0 pictures of flow written, 4 up to date' in capsys.readouterr().out


def test_frames_of_another_video_are_refused(clip, capsys):
    for name in ('a.avi', 'b.avi'):
        write_video(clip, clip / name)
    words = '-o', clip / 'flow', '--images', clip / 'frames'
    assert run(clip / 'a.avi', *words) == command.DONE
    assert run(clip / 'b.avi', *words) == 2
    assert '/frames: contains frames of another video (video a.avi, ' in capsys.readouterr().err
    write_video(clip, clip / 'a.avi', frames=4)
    assert run(clip / 'a.avi', *words) == 2
    (clip / 'frames/.video.json').unlink()
    capsys.readouterr()
    assert run(clip / 'a.avi', *words) == 2
    assert 'contains images, but no .video.json that says of which' in capsys.readouterr().err


def test_movements_that_a_file_cannot_hold_are_counted(tmp_path, capsys):
    for number, shift in enumerate((0, 140)):
        write_png(tmp_path / f'images/{number}.png', moved(textured(64, 512), shift, 0))
    run(tmp_path / 'images', '-o', tmp_path / 'flow', '--method', DIS)
    found = optical_flow.read(tmp_path / 'flow/1.png')
    told = '1 picture with movements of more than 127 pixels' in capsys.readouterr().out
    assert told == bool((found[..., U] == 255).any() or (found[..., U] == 0).any())


@pytest.mark.parametrize(
    'words, problem',
    [
        ((), 'the following arguments are required: SOURCE'),
        (('{0}/nothing', '-o', '{0}/flow'), 'nothing: no such file or folder; name the frames, or'),
        (('{0}/images',), '-o: name the folder to write the pictures of flow to'),
        (('{0}/images', '-o', '{0}/images'), 'is among the frames; name a folder beside'),
        (('{0}/images', '-o', '{0}/images/flow'), 'is among the frames; name a folder beside'),
        (('{0}', '-o', '{0}/flow'), 'is among the frames; name a folder beside'),
        (('{0}/images', '-o', '{0}/labels'), '-o {0}/labels: contains other files; name a new'),
        (('{0}/images', '-o', '{0}/flow', '--height', '8'), '--height 8: must be at least 16'),
        (('{0}/labels', '-o', '{0}/flow'), '{0}/labels: 1 image, but no two that follow each'),
        (('{0}/a.txt', '-o', '{0}/flow'), '--images: name the folder for the frames of {0}/a.txt'),
        (('{0}/a.txt', '-o', '{0}/flow', '--images', '{0}/f'), 'a.txt: not a video, or of a'),
        (('{0}/a.txt', '-o', '{0}/flow', '--images', '{0}/labels'), '--images {0}/labels: contain'),
        (('{0}/images', '-o', '{0}/flow', '--method', 'raft'), 'raft'),
        (('{0}/images', '-o', '{0}/flow', '--processes', '0'), '--processes 0: at least 1'),
    ],
)
def test_mistakes_are_one_line(clip, capsys, words, problem):
    write_png(clip / 'labels/mask.png', np.zeros((2, 2), np.uint8))
    (clip / 'a.txt').write_text('no video')
    assert run(*(word.format(clip) for word in words)) == 2
    error = capsys.readouterr().err
    assert problem.format(clip) in error and 'Traceback' not in error
    assert not (clip / 'flow/.flow.json').exists()


def test_small_frames_are_refused(tmp_path, capsys):
    for number in range(2):
        write_png(tmp_path / f'images/{number}.png', np.zeros((9, 200, 3), np.uint8))
    for method in (FARNEBACK, DIS):
        folder = tmp_path / method
        assert run(tmp_path / 'images', '-o', folder, '--method', method) == command.SOME_FAILED
        assert 'optical flow needs two of one size, at least 16x16' in capsys.readouterr().out
