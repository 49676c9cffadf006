"""Reading and writing videos: formats, frame counts, sizes, a full disk."""

import os

import cv2
import numpy as np
import pytest

from common.errors import InputError, UserError
from engine.inference import video
from support import programs, stand_ins


def write(path, count, size=(48, 64)):
    with video.video_writer(path, 25) as append:
        for i in range(count):
            append(stand_ins.image(*size, seed=i))
    return path


@pytest.mark.parametrize('ending', video.CODECS)
def test_written_frames_are_read_back(tmp_path, ending):
    source = video.VideoReader(write(tmp_path / f'a{ending}', 7))
    frames = list(source)
    assert (source.frames, source.rate, len(frames)) == (7, 25, 7)
    assert abs(frames[3].astype(int) - stand_ins.image(48, 64, seed=3)).mean() < 20
    source.check_complete(7)
    with pytest.raises(video.IncompleteVideo, match='promises 7 frames, 5 can be read'):
        source.check_complete(5)


def test_an_estimated_number_of_frames_has_a_tolerance(tmp_path):
    source = video.VideoReader(write(tmp_path / 'a.mkv', 30))
    source.check_complete(28)
    with pytest.raises(video.IncompleteVideo):
        source.check_complete(20)


def test_the_first_frame_of_an_unsupported_size_is_refused(tmp_path):
    with (
        pytest.raises(InputError, match='a.mp4: .mp4 cannot hold 9000x8 pixels at 25 frames'),
        video.video_writer(tmp_path / 'a.mp4', 25) as append,
    ):
        append(np.zeros((8, 9000, 3), np.uint8))
        raise AssertionError('the first frame was accepted')
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize('ending', video.CODECS)
def test_a_full_disk_is_an_error_and_leaves_no_video(tmp_path, ending):
    """FFmpeg itself reports no error and writes an incomplete file."""
    with (
        programs.full_disk(30_000),
        pytest.raises(UserError, match=f'a{ending}: cannot be written completely') as caught,
    ):
        write(tmp_path / f'a{ending}', 40)
    assert not isinstance(caught.value, InputError)
    assert os.listdir(tmp_path) == []


def test_other_files_are_refused_and_cut_videos_are_read(tmp_path):
    (tmp_path / 'text.mp4').write_text('hello')
    with pytest.raises(InputError, match='text.mp4: not a video'):
        video.VideoReader(tmp_path / 'text.mp4')
    with pytest.raises(InputError, match='none.mp4: cannot be read .No such file'):
        video.VideoReader(tmp_path / 'none.mp4')
    whole = write(tmp_path / 'whole.avi', 5)
    cut = tmp_path / 'cut.avi'
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    source = video.VideoReader(cut)
    assert 0 < len(list(source)) < source.frames
    assert cv2.VideoCapture(str(whole)).get(cv2.CAP_PROP_FRAME_COUNT) == 5
