"""The child process that reads cameras and RTSP streams: newest frames, failures in one line."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from common.errors import InputError
from engine.inference import stream_frames, stream_reader
from engine.inference.sources import Stream
from engine.inference.stream_reader import StreamReader
from support.infer_runs import write_video


def test_the_child_process_hands_over_frames_and_can_fail(tmp_path, monkeypatch):
    """A file stands for the stream of a camera; a pipe without a writer for a dead one."""
    write_video(str(tmp_path / 'a.avi'), [np.full((48, 64, 3), 9, np.uint8)] * 30)
    start = stream_reader._start

    def start_and_ask(stream):
        process, connection = start(stream)
        connection.send_bytes(b'')  # so that the first frame is wanted when it comes
        return process, connection

    monkeypatch.setattr(stream_reader, '_start', start_and_ask)

    def reader(name, max_pixels=1 << 20):
        return StreamReader(Stream(Path('a'), Path('a'), str(tmp_path / name)), max_pixels)

    source = reader('a.avi')
    assert source.rate == 12.5
    frames = iter(source)
    frame = next(frames)
    assert frame.shape == (48, 64, 3)
    assert abs(frame.mean() - 9) < 3
    source._process.wait(20)  # the frames that nobody wants come to their end
    received = 1 + len(list(frames))
    assert received <= 2
    assert received + source.dropped == 30
    source.close()
    with pytest.raises(InputError, match='frames of 64x48 pixels, but at most 99 are read'):
        reader('a.avi', 99)
    with pytest.raises(InputError, match='cannot be opened .*; is the address right?'):
        reader('none.avi')
    os.mkfifo(tmp_path / 'pipe')
    monkeypatch.setattr(stream_frames, 'OPEN_SECONDS', 0.5)
    with pytest.raises(InputError, match='cannot be opened .sent nothing for 0.5 s.; is the'):
        reader('pipe')


def test_a_crash_of_the_decoder_ends_the_stream(tmp_path, monkeypatch):
    """It happens while the stream is opened: a pipe without a writer."""
    os.mkfifo(tmp_path / 'pipe')
    start = stream_reader._start

    def start_and_crash(stream):
        process, connection = start(stream)
        process.send_signal(signal.SIGSEGV)
        return process, connection

    monkeypatch.setattr(stream_reader, '_start', start_and_crash)
    with pytest.raises(InputError, match='cannot be opened .its decoder crashed .SIGSEGV'):
        StreamReader(Stream(Path('a'), Path('a'), str(tmp_path / 'pipe')), 99)
