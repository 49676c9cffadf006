"""Cameras, streams over HTTP, standard input: newest frames, orderly ends, one-line errors."""

import io
import itertools
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from common.errors import InputError, UserError
from datasets.keys import DEFAULT_READING, ImageReading
from engine.inference import http_video, live, sources, stream_frames
from engine.inference.settings import LooksSettings
from engine.inference.steps import Steps
from engine.inference.video import IncompleteVideo
from support import mjpeg, raw_server, stand_ins
from support.infer_runs import read_video, refused, started, write_video
from support.raw_server import RawServer
from support.tiny_config import tiny_camvid

LABELS = ['--save-labels']


@pytest.fixture
def serve():
    """Start local servers that send the next of their answers to each request."""
    servers = []

    def start(*answers):
        servers.append(RawServer(*answers))
        return servers[-1].url

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def opened(url, reading=DEFAULT_READING):
    return http_video.opened(sources.only_source([url]), reading, lambda: False)


def test_names_of_cameras_streams_and_files(working_folder):
    for pattern, name, path in (
        ('0', 'camera 0', 'camera_0'),
        ('rtsp://me:secret@host:554/a/b?c', 'rtsp://***@host:554/a/b?c', 'host_a_b'),
        ('HTTP://host', 'HTTP://host', 'host'),
        ('https://host/x.mp4', 'https://host/x.mp4', 'host_x_mp4'),
        ('rtsp://192.0.2.7:554/', 'rtsp://192.0.2.7:554/', '192_0_2_7'),
        ('-', 'standard input', 'stdin'),
    ):
        found = sources.only_source([pattern])
        assert (found.name, str(found.path)) == (name, path)
        with pytest.raises(UserError, match='is segmented alone; start infer.py once') as caught:
            sources.only_source([pattern, 'a.png'])
        assert 'secret' not in str(caught.value)
    Path('0').mkdir()
    for pattern in ('0', 'a.png', 'http:/x', 'ftp://host/x', '12345', '-1'):
        assert sources.only_source([pattern]) is None
    for pattern in ('http://', 'rtsp://[::1/x', 'http://host/a b'):
        with pytest.raises(UserError, match='is no address; write rtsp://HOST/PATH'):
            sources.only_source([pattern])


def test_a_stream_of_images_becomes_a_video_with_maps(working_folder, serve, caplog):
    """It has no rate of its own; each segmented frame has its class map."""
    caplog.set_level('INFO')
    assert (
        started(
            '-i', serve(mjpeg.stream(600, seconds=0.03)), *tiny_camvid(), *LABELS, '--frames', '3'
        )
        == 0
    )
    rate, frames = read_video('result.mp4')
    assert 1 <= rate <= 25
    assert len(frames) >= 2
    assert frames[0].shape == (48, 64, 3)
    maps = sorted(os.listdir('result'))
    assert maps == [f'0000000{number}_labels.png' for number in (1, 2, 3)]
    assert '3 frames were segmented, ' in caplog.text


def test_frames_that_are_not_wanted_in_time_are_dropped(serve):
    """While the network computes, 40 frames come; the next one it gets is the last of them."""
    wanted, sent = threading.Event(), threading.Event()

    def rest():
        wanted.wait(20)
        for grey in range(100, 140):
            yield mjpeg.part(mjpeg.jpeg(grey))
        sent.set()

    with opened(serve(mjpeg.stream(1, rest))) as reader:
        frames = iter(reader)
        assert next(frames).mean() == 0
        wanted.set()
        assert sent.wait(20)
        with reader._change:
            assert reader._change.wait_for(lambda: reader._is_over, 20)
        assert abs(next(frames).mean() - 139) < 2
        assert next(frames, None) is None
        assert reader.dropped == 39
        reader.check_complete(2)


def test_a_recording_over_http_is_segmented_like_a_file(working_folder, serve, caplog):
    """Frame by frame, without a gap, at the rate of the file."""
    write_video('a.avi', [stand_ins.image(48, 64, seed) for seed in range(4)])
    content = Path('a.avi').read_bytes()
    url = serve(raw_server.answer(content, 'Content-Type: video/x-msvideo'))
    for source, name in (('a.avi', 'file'), (url, 'http')):
        assert started('-i', source, *tiny_camvid(), *LABELS, '-o', f'{name}.mp4') == 0
    assert read_video('http.mp4')[0] == 12.5
    assert len(os.listdir('http')) == 4
    assert started('-i', 'a.avi', *tiny_camvid(), '-o', 'two.mp4', '--frames', '2') == 0
    assert len(read_video('two.mp4')[1]) == 2
    for name in os.listdir('file'):
        assert Path('http', name).read_bytes() == Path('file', name).read_bytes()
    cut = serve(raw_server.answer(content[: len(content) * 3 // 4]))
    assert started('-i', cut, *tiny_camvid(), '-o', 'cut.mp4') == 1
    assert 0 < len(read_video('cut.mp4')[1]) < 4
    short = serve(raw_server.answer(content, length=len(content) + 9))
    assert started('-i', short, *tiny_camvid(), '-o', 'short.mp4') == 0
    assert f'ended after {len(content)} of {len(content) + 9} bytes' in caplog.text


def test_what_is_no_video_is_refused_in_one_line(working_folder, serve, capsys):
    """A playlist opens nothing: its second address is never asked."""
    other = RawServer(raw_server.answer(b''))
    playlist = f'#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{other.url}\n#EXT-X-ENDLIST\n'
    video = b'\x1a\x45\xdf\xa3' + bytes(100)
    mixed = 'Content-Type: multipart/mixed'
    for answer, message in (
        (raw_server.answer(playlist.encode(), length=None), 'not a video, or of a format that is'),
        (raw_server.answer(mjpeg.jpeg(0)), 'is an image; pass it on: curl ADDRESS | python infer'),
        (raw_server.answer(video, length=None), 'does not say where it ends'),
        (raw_server.answer(video), 'damaged or truncated video'),
        (raw_server.answer(video, length=1 << 55), 'has room for '),
        (raw_server.answer(b'', status='404 Gone'), 'answers 404 Gone; is the address right?'),
        (raw_server.answer(b'', mixed), 'which names no boundary'),
        (mjpeg.stream(0), 'has no frame'),
        (mjpeg.stream(2, size=(300, 300)), 'an image: 300x300 pixels, but at most 80000'),
        (raw_server.answer(b'--frame\r\n\r\nhello\r\n' * 3, mjpeg.TYPE), 'not an image'),
    ):
        url = serve(answer).replace('//', '//me:secret@')
        line = f'{re.escape(url.replace("me:secret", "***"))}: .*{re.escape(message)}'
        with (
            pytest.raises(InputError, match=line) as caught,
            opened(url, ImageReading(max_pixels=80000)) as reader,
        ):
            list(reader)
        assert '/tmp' not in str(caught.value)
    assert other.requests == []
    other.shutdown()
    other.server_close()
    line = refused(capsys, '-i', 'http://me:secret@127.0.0.1:9/x', *tiny_camvid())
    assert 'http://***@127.0.0.1:9/x: failed: ' in line
    assert os.listdir() == []


@pytest.mark.parametrize('block', [b'x' * 1000, mjpeg.part(b'')])
def test_bytes_without_an_image_end_a_stream(working_folder, serve, capsys, monkeypatch, block):
    monkeypatch.setattr(stream_frames, 'FRAME_SECONDS', 0.4)
    url = serve(mjpeg.stream(0, lambda: itertools.repeat(block)))
    assert 'sent nothing for 0.4 s' in refused(capsys, '-i', url, *tiny_camvid())


def test_a_stream_that_stops_sending_leaves_a_whole_video(
    working_folder, serve, caplog, monkeypatch
):
    monkeypatch.setattr(stream_frames, 'FRAME_SECONDS', 2.0)
    released = threading.Event()

    def silence():
        released.wait(20)
        return ()

    url = serve(mjpeg.stream(2, silence))
    assert started('-i', url, *tiny_camvid(), '-o', 'a.mp4') == 1
    released.set()
    assert 'sent nothing for 2 s after frame' in caplog.text
    assert 'what came before it is written' in caplog.text
    assert len(read_video('a.mp4')[1]) >= 1


@pytest.mark.parametrize('number', live.SIGNALS)
def test_a_signal_ends_the_written_video_whole(working_folder, serve, number):
    """The status is 0, as this is how an endless stream ends; the handlers are those of before."""

    def endless():
        while not Path('a/00000002_labels.png').exists():
            yield mjpeg.part(mjpeg.jpeg(100))
            time.sleep(0.01)
        os.kill(os.getpid(), number)
        yield from itertools.repeat(mjpeg.part(mjpeg.jpeg(100)))

    before = signal.getsignal(number)
    assert (
        started('-i', serve(mjpeg.stream(1, endless)), *tiny_camvid(), *LABELS, '-o', 'a.mp4') == 0
    )
    assert signal.getsignal(number) == before
    assert len(read_video('a.mp4')[1]) >= 1
    assert sorted(os.listdir()) == ['a', 'a.mp4']


def test_a_damaged_image_is_left_out_and_another_size_ends_the_stream(serve):
    parts = [mjpeg.jpeg(9), b'damaged', mjpeg.jpeg(50)]

    def answer():
        yield mjpeg.HEAD
        for each in parts:
            asked.acquire(timeout=20)
            yield mjpeg.part(each)
        asked.acquire(timeout=20)
        yield mjpeg.part(mjpeg.jpeg(9, (24, 32)))

    asked = threading.Semaphore(1)
    with opened(serve(answer)) as reader:
        frames = iter(reader)
        next(frames)
        asked.release(2)
        assert abs(next(frames).mean() - 50) < 2
        asked.release()
        assert next(frames, None) is None
        with pytest.raises(IncompleteVideo, match='the size of its frames changes after frame 2'):
            reader.check_complete(2)


def test_a_camera_that_is_not_there(working_folder, capsys):
    line = refused(capsys, '-i', '9', *tiny_camvid())
    assert 'camera 9: cannot be opened; is it connected' in line
    assert os.listdir() == []


def test_an_image_from_standard_input(small_photo, monkeypatch):
    content = small_photo.read_bytes()
    monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(content)))
    assert started('-i', '-', *tiny_camvid(), *LABELS) == 0
    assert started('-i', small_photo, *tiny_camvid(), *LABELS, '-o', 'file.jpg') == 0
    assert Path('result.jpg').read_bytes() == Path('file.jpg').read_bytes()
    assert Path('result_labels.png').read_bytes() == Path('file_labels.png').read_bytes()
    steps = Steps(None, LooksSettings(), ImageReading(max_pixels=10800))
    for data, message in (
        (b'', 'standard input: is empty; write an image to it: cat a.jpg |'),
        (bytes(200_000), 'standard input: not an image'),
        (content[:5000], 'standard input: damaged or truncated'),
        (content + bytes(200_000), 'standard input: has more bytes than 10800 pixels need'),
        (None, 'standard input: no program writes an image to it'),
    ):
        given = None if data is None else io.TextIOWrapper(io.BytesIO(data))
        monkeypatch.setattr(sys, 'stdin', given)
        with pytest.raises(InputError, match=re.escape(message)):
            steps.read(sources.only_source(['-']))


def test_the_video_of_a_live_stream_plays_as_fast_as_it_happened():
    """At 10 frames per second: a late picture is repeated, and an early one left out."""
    clock, written = iter([5.0, 5.1, 5.5, 5.51, 5.52, 5.53, 6.0]), []
    paced = live.PacedVideo(written.append, 10, lambda: next(clock))
    for picture in 'abcdefg':
        paced(picture)
    assert ''.join(written) == 'abbbbcd' + 'fff' + 'g'
    assert live.rate_for(25, 0.3) == 3.3
    assert live.rate_for(25, 0.001) == 25
    assert live.rate_for(25, 30) == 1
