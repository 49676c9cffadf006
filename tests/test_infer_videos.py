"""infer.py on videos."""

import os
import shutil
from pathlib import Path

import cv2
import numpy as np

from datasets import image_files as images
from support import programs
from support.infer_runs import INFER, read_video, started, write_video
from support.tiny_config import tiny_camvid


def test_a_video_is_segmented_frame_by_frame(small_photo):
    frame = images.read_image(small_photo)
    write_video('in.avi', [np.roll(frame, 8 * i, axis=1) for i in range(4)])
    assert started('-i', 'in.avi', *tiny_camvid(), '--legend') == 0
    rate, frames = read_video('result.mp4')
    assert (rate, len(frames)) == (12.5, 4)
    assert frames[0].shape[0] == 90
    assert frames[0].shape[1] > 120
    assert not np.array_equal(frames[0], frames[3])
    assert started('-i', 'in.avi', *tiny_camvid(), '--save-labels', '-o', 'out.avi') == 0
    assert len(read_video('out.avi')[1]) == 4
    assert sorted(os.listdir('out')) == [f'{i:08d}_labels.png' for i in range(1, 5)]


def test_odd_sides_of_a_video_are_padded(small_photo):
    frame = images.read_image(small_photo)[:45, :75]
    write_video('odd.avi', [frame, frame], cv2.CAP_OPENCV_MJPEG)  # this writer keeps odd sides
    assert read_video('odd.avi')[1][0].shape == (45, 75, 3)
    assert started('-i', 'odd.avi', *tiny_camvid()) == 0
    frames = read_video('result.mp4')[1]
    assert [f.shape for f in frames] == [(46, 76, 3)] * 2
    assert abs(frames[0][:, 75].astype(int) - frames[0][:, 74]).mean() < 20


def test_the_readable_frames_of_a_truncated_video_are_written(small_photo, capsys, caplog):
    Path('in').mkdir()
    frame = images.read_image(small_photo)
    write_video('in/a.avi', [frame] * 6)
    whole = Path('in/a.avi').read_bytes()
    Path('in/b.avi').write_bytes(whole[: len(whole) // 2])
    assert started('-i', 'in/b.avi', *tiny_camvid()) == 1
    written = len(read_video('result.mp4')[1])
    assert 0 < written < 6
    assert f'in/b.avi: its header promises 6 frames, {written} can be read' in caplog.text
    assert 'result.mp4 written in' in capsys.readouterr().out
    assert started('-i', 'in', *tiny_camvid()) == 1
    output = capsys.readouterr()
    assert '1 of 2 files written' in output.out
    assert 'error: in/b.avi: its header promises 6 frames' in output.err
    assert len(read_video('results/a.mp4')[1]) == 6


def test_a_video_too_wide_for_the_codec_is_skipped(small_photo, capfd):
    Path('in').mkdir()
    write_video('in/a.avi', [np.zeros((8, 9000, 3), np.uint8)])
    shutil.copy(small_photo, 'in/b.png')
    process = programs.run(
        INFER, '-i', 'in', *tiny_camvid(), '--size', '32x64', cwd=small_photo.parent
    )
    assert process.returncode == 1, process.stderr
    lines = process.stderr.splitlines()
    assert [line for line in lines if not line.startswith('segmenting ')] == [
        'running on the CPU',
        'error: results/a.mp4: .mp4 cannot hold 9000x8 pixels at 12.5 frames per second',
    ]
    assert os.listdir('results') == ['b.jpg']


def test_the_scale_applies_to_videos(small_photo):
    write_video('in.avi', [images.read_image(small_photo)])
    images.write_image(Path('frame.png'), read_video('in.avi')[1][0])
    maps = []
    for name, options in (
        ('in.avi', ['--scale', '0.3']),
        ('frame.png', ['--scale', '0.3']),
        ('frame.png', []),
    ):
        shutil.rmtree('out', ignore_errors=True)
        output = 'out/a.avi' if name == 'in.avi' else 'out/a.png'
        assert started('-i', name, *tiny_camvid(), *options, '--save-labels', '-o', output) == 0
        (path,) = Path('out').rglob('*_labels.png')
        maps.append(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
    assert np.array_equal(maps[0], maps[1])
    assert not np.array_equal(maps[1], maps[2])
