"""Reading and writing videos: formats, frame counts, sizes, a full disk."""

import os
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.errors import InputError, UserError
from datasets import image_files
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


# The rows of a matrix that turns frames, and numpy's way to do the same.
TURNS = {
    'upright': ((1, 0, 0, 1), lambda frame: frame),
    '90 degrees': ((0, 1, -1, 0), lambda frame: np.rot90(frame, -1)),
    '180 degrees': ((-1, 0, 0, -1), lambda frame: np.rot90(frame, 2)),
    '270 degrees': ((0, -1, 1, 0), np.rot90),
    'mirrored': ((-1, 0, 0, 1), np.fliplr),
    'upside down': ((1, 0, 0, -1), np.flipud),
    'transposed': ((0, 1, 1, 0), lambda frame: frame.transpose(1, 0, 2)),
    'mirrored and turned': ((0, -1, -1, 0), lambda frame: np.rot90(frame, 2).transpose(1, 0, 2)),
}


def set_matrix(path, matrix, box=b'tkhd'):
    """Write the matrix of a video into its track header, or into the header of the whole."""
    data = bytearray(path.read_bytes())
    place = data.index(box) + {b'tkhd': 44, b'mvhd': 40}[box]
    a, b, c, d = (number << 16 for number in matrix)
    struct.pack_into('>9i', data, place, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


@pytest.mark.parametrize('name', TURNS)
@pytest.mark.parametrize('ending', ['.mp4', '.mov'])
def test_frames_are_turned_as_players_show_them(tmp_path, name, ending):
    """The matrices are those of ISO/IEC 14496-12; ffmpeg -autorotate gives the same frames."""
    path = write(tmp_path / f'a{ending}', 2)
    stored = list(video.VideoReader(path))
    matrix, turn = TURNS[name]
    set_matrix(path, matrix)
    frames = list(video.VideoReader(path))
    assert all(np.array_equal(frame, turn(one)) for frame, one in zip(frames, stored, strict=True))


def test_the_matrix_of_the_whole_video_and_damaged_ones(tmp_path):
    path = write(tmp_path / 'a.mp4', 1)
    (stored,) = video.VideoReader(path)
    set_matrix(path, (0, 1, -1, 0), b'mvhd')
    assert np.array_equal(next(iter(video.VideoReader(path))), np.rot90(stored, -1))
    set_matrix(path, (1, 1, -1, 1), b'mvhd')  # 45 degrees
    assert np.array_equal(next(iter(video.VideoReader(path))), stored)


def test_the_phone_video_of_the_cases_is_upright(shared):
    """The frame that was stored lying, a street of 256x512 pixels, has its sky above."""
    frame = next(iter(video.VideoReader(shared / 'cases' / 'phone_rotated_90.mp4')))
    assert frame.shape == (256, 512, 3)
    assert frame[:60, 200:300].mean() > 2 * frame[-60:, 200:300].mean()


NAMES = [
    'clip:1.mp4', 'http:foo.mp4', 'file:a.mp4', 'concat:a|b.mp4', 'x%d.mp4', 'a%03d.mp4', '-v.mp4',
    'v\nw.mp4', os.fsdecode(b'v\xff.mp4'), 'y' * 251 + '.mp4', '#?*[a].mp4',
]  # fmt: skip


@pytest.mark.parametrize('name', NAMES, ids=ascii)
def test_any_file_name_is_written_and_read(working_folder, name):
    """Relative names, which FFmpeg could take for a protocol, and OpenCV for a pattern."""
    write(Path(name), 3)
    assert os.listdir() == [name]
    source = video.VideoReader(Path(name))
    assert len(list(source)) == source.frames == 3


def test_numbered_images_are_no_series(working_folder):
    """OpenCV has a reader that would take three images for the frames of one video."""
    for number in range(3):
        image_files.write_image(Path('a.png'), np.full((8, 8, 3), number, np.uint8))
        Path('a.png').rename(f'a{number}.mp4')
    with pytest.raises(InputError, match='a0.mp4: not a video, .*read are MP4 and'):
        video.VideoReader(Path('a0.mp4'))


def test_the_frames_before_a_failure_of_the_decoder_are_kept(tmp_path, monkeypatch):
    source = video.VideoReader(write(tmp_path / 'a.mkv', 5))
    real = source._capture

    class Failing:
        """Raises an exception at the fourth frame."""

        count = 0

        def read(self):
            self.count += 1
            if self.count == 4:
                raise cv2.error('broken frame')
            return real.read()

        def release(self):
            real.release()

    monkeypatch.setattr(source, '_capture', Failing())
    assert len(list(source)) == 3
    with pytest.raises(video.IncompleteVideo, match='a.mkv: frame 4 cannot be decoded .broken'):
        source.check_complete(3)


def test_a_video_without_a_frame_is_not_written(tmp_path):
    with (
        pytest.raises(UserError, match='a.mp4: not written, as there is no frame'),
        video.video_writer(tmp_path / 'a.mp4', 25),
    ):
        pass
    assert not list(tmp_path.iterdir())
