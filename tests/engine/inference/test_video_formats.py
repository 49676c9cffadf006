"""Hostile videos: playlists, sizes, counts and rates that a header claims, boxes without end."""

import os
import struct
import time

import cv2
import pytest

from common.errors import InputError
from engine.inference import iso_boxes, video, video_formats, video_packets
from support import stand_ins
from support.little_memory import little_memory

# Formats that FFmpeg writes, by ending, and the codec that it is asked for.
WRITTEN = {
    '.mp4': ('mp4v', video_formats.ISO),
    '.mov': ('mp4v', video_formats.ISO),
    '.3gp': ('mp4v', video_formats.ISO),
    '.avi': ('MJPG', video_formats.AVI),
    '.mkv': ('mp4v', video_formats.MATROSKA),
    '.webm': ('VP80', video_formats.MATROSKA),
    '.mpg': ('mpg1', video_formats.MPEG),
    '.vob': ('mpg2', video_formats.MPEG),
    '.ts': ('mp2v', video_formats.MPEG),
    '.m2ts': ('mpg2', video_formats.MPEG),
    '.m2v': ('mpg2', video_formats.MPEG),
    '.flv': ('FLV1', video_formats.FLV),
    '.wmv': ('WMV2', video_formats.ASF),
}


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
    """One video of each format, by ending; all have three frames of 64x48 pixels."""
    folder, paths = tmp_path_factory.mktemp('videos'), {}
    for ending, (codec, _) in WRITTEN.items():
        paths[ending] = folder / f'a{ending}'
        fourcc = cv2.VideoWriter_fourcc(*codec)
        writer = cv2.VideoWriter(str(paths[ending]), cv2.CAP_FFMPEG, fourcc, 25, (64, 48))
        for seed in range(3):
            writer.write(stand_ins.image(48, 64, seed=seed))
        writer.release()
    return paths


def box(kind, content=b''):
    return struct.pack('>I4s', 8 + len(content), kind) + content


def put(data, kind, offset, layout, *values):
    """Return a file with other values at an offset in the content of its first box of a kind."""
    changed = bytearray(data)
    struct.pack_into(layout, changed, data.index(kind) + 4 + offset, *values)
    return bytes(changed)


def refusal(path, data, **words):
    path.write_bytes(data)
    with little_memory(1 << 30), pytest.raises(InputError) as caught:
        video.VideoReader(path, **words)
    text = str(caught.value)
    assert text.startswith(f'{path}: ')
    return text.removeprefix(f'{path}: ')


@pytest.mark.parametrize('ending', WRITTEN)
def test_a_format_is_known_by_content(videos, ending, tmp_path):
    """The name does not matter."""
    named_otherwise = tmp_path / 'a.avi'
    named_otherwise.write_bytes(videos[ending].read_bytes())
    assert video_formats.read_header(named_otherwise).name == WRITTEN[ending][1]
    frames = list(video.VideoReader(named_otherwise))
    assert {frame.shape for frame in frames} == {(48, 64, 3)}
    assert len(frames) == 3


def test_transport_streams_may_begin_cut_and_ogg_is_known(videos, tmp_path):
    (tmp_path / 'a.ts').write_bytes(videos['.ts'].read_bytes()[100:])
    assert list(video.VideoReader(tmp_path / 'a.ts'))
    assert video_formats.format_of(b'OggS\0\2' + bytes(30)) == video_formats.OGG
    for other in (b'', b'G', b'hello', b'\0' * 50, b'GIF89a' + bytes(99), b'\x89PNG\r\n\x1a\n'):
        assert video_formats.format_of(other) is None


def test_no_other_file_is_opened(videos, tmp_path):
    """FFmpeg plays another file for these texts; none of them passes for a transport stream."""
    other, path = tmp_path / 'other.ts', tmp_path / 'a.mp4'
    other.write_bytes(videos['.ts'].read_bytes())
    for text in (
        f'#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{other}\n#EXT-X-ENDLIST\n',
        f'#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{other.name}\n#EXT-X-ENDLIST\n',
        f'ffconcat version 1.0\nfile {other.name}\n',
    ):
        path.write_text(text)
        assert video._open(path).isOpened() or other.name not in text.split()
        hidden = bytearray(f'{text}#'.encode().ljust(189 * 20, b'G'))  # after the sign of a comment
        for data in (text.encode(), bytes(hidden)):
            assert 'not a video, or of a format' in refusal(path, data)
    # FFmpeg skips this tag to find the format.
    assert video_formats.format_of(b'ID3\x04' + bytes(6) + b'G' * 4000) is None


def test_only_files_are_read(tmp_path):
    os.mkfifo(tmp_path / 'a.mp4')  # opening it would wait for a writer
    with pytest.raises(InputError, match='a.mp4: not a file; save the video as one'):
        video.VideoReader(tmp_path / 'a.mp4')


def test_claimed_sizes_are_looked_at_before_a_frame(videos, tmp_path):
    mp4, avi = videos['.mp4'].read_bytes(), videos['.avi'].read_bytes()
    webm = videos['.webm'].read_bytes()
    place = webm.index(b'\xb0\x81\x40\xba\x81\x30')  # 64 wide, 48 high, in one byte each
    claims = {
        'a.mp4': put(mp4, b'tkhd', 76, '>II', 60000 << 16, 50000 << 16),
        'b.mp4': put(mp4, b'mp4v', 24, '>HH', 60000, 50000),
        'a.avi': put(avi, b'strf', 8, '<ii', 60000, -50000),
    }
    for name, data in claims.items():
        assert refusal(tmp_path / name, data) == (
            'frames of 60000x50000 pixels, but at most 268435456 are read; make it smaller with '
            'another program'
        )
    large = webm[:place] + b'\xb0\x81\xff\xba\x81\xff' + webm[place + 6 :]
    assert refusal(tmp_path / 'a.mkv', large, max_pixels=9999) == (
        'frames of 255x255 pixels, but at most 9999 are read; make it smaller with another '
        'program, or set max_pixels (--set max_pixels=65025)'
    )
    for ending in WRITTEN:  # the others tell FFmpeg only
        data = videos[ending].read_bytes()
        assert 'frames of 64x48' in refusal(tmp_path / 'a.avi', data, max_pixels=3071)
        assert list(video.VideoReader(videos[ending], max_pixels=3072))


def test_claimed_samples_are_counted_before_an_index_is_made(videos, tmp_path):
    """FFmpeg holds 24 bytes for each, of a file of some kilobytes."""
    data, path, many = videos['.mp4'].read_bytes(), tmp_path / 'a.mp4', 80_000_000
    expected = 'damaged video (it claims 80000000 samples); convert it into a new MP4'
    assert refusal(path, put(data, b'stsz', 4, '>II', 1, many)) == expected
    fragment = box(b'traf', box(b'tfhd', bytes(8)) + box(b'trun', struct.pack('>III', 1, many, 0)))
    assert refusal(path, data + box(b'moof', fragment)) == expected.replace('00 s', '03 s')
    edits = struct.pack('>II', 0, 8000) + struct.pack('>IiI', 40, 0, 1 << 16) * 8000
    repeated = put(data, b'stsz', 4, '>II', 1, 10_000) + box(b'moov', box(b'elst', edits))
    path.write_bytes(repeated)
    assert video_formats.read_header(path).moov is not None  # edits of another track
    track = box(b'trak', box(b'stsz', struct.pack('>III', 0, 1, 10_000)) + box(b'elst', edits))
    assert refusal(path, data + box(b'moov', track)) == expected.replace('00 s', '03 s')
    # An hour and a half of sound, a sample of 4 bytes at each moment.
    times = box(b'stts', struct.pack('>IIII', 0, 1, 250_000_000, 1))
    sizes = box(b'stsz', struct.pack('>III', 0, 4, 250_000_000))
    places = box(b'stco', struct.pack('>II', 0, 5209) + bytes(4 * 5209))
    runs = struct.pack('>IIIIIIII', 0, 2, 1, 48_000, 1, 5209, 16_000, 1)

    def sound(runs):
        table = box(b'minf', box(b'stbl', times + sizes + places + box(b'stsc', runs)))
        return box(b'trak', box(b'mdia', box(b'hdlr', bytes(8) + b'soun') + table))

    path.write_bytes(data + box(b'moov', sound(runs)))
    assert video_formats.read_header(path).moov is not None
    # FFmpeg makes a packet of each 1024 samples that a chunk claims.
    bomb = runs.replace(struct.pack('>I', 48_000), struct.pack('>I', 1 << 31))
    assert 'it claims' in refusal(path, data + box(b'moov', sound(bomb)))


def test_a_truncated_file_lacks_its_index(videos, tmp_path):
    data = videos['.mp4'].read_bytes()
    assert refusal(tmp_path / 'a.mp4', data[: data.index(b'moov') - 10]) == (
        'damaged or truncated video, without the box moov, which is often the last one; copy or '
        'download it again'
    )
    cut = videos['.wmv'].read_bytes()[:200]
    assert 'or encoded in a way that FFmpeg does not read' in refusal(tmp_path / 'a.wmv', cut)


def test_a_file_full_of_boxes_ends(videos, tmp_path, monkeypatch):
    monkeypatch.setattr(iso_boxes, 'MAX_BOXES', 1000)
    data = videos['.mp4'].read_bytes()
    expected = 'damaged video (it has more than 1000 boxes); convert it into a new MP4'
    assert refusal(tmp_path / 'a.mp4', box(b'free') * 1001 + data) == expected
    monkeypatch.setattr(iso_boxes, 'MAX_HEADER_BYTES', 100)
    assert 'its header has more than 0 MiB' in refusal(tmp_path / 'a.mp4', data)


@pytest.mark.parametrize('size', [0, 1, 7, 9, 1 << 31, (1 << 32) - 1])
@pytest.mark.parametrize('kind', [b'ftyp', b'moov', b'trak', b'mdia', b'hdlr', b'tkhd', b'stsd'])
def test_wrong_sizes_of_boxes_end_in_a_result(videos, tmp_path, kind, size):
    path = tmp_path / 'a.mp4'
    path.write_bytes(put(videos['.mp4'].read_bytes(), kind, -8, '>I', size))
    started = time.monotonic()
    try:
        assert len(list(video.VideoReader(path))) <= 3
    except InputError as error:
        assert str(error).startswith(f'{path}: ')
    assert time.monotonic() - started < 20


def test_impossible_rates_and_counts(videos, tmp_path, caplog):
    path = tmp_path / 'a.avi'
    data = videos['.avi'].read_bytes()
    path.write_bytes(put(data, b'strh', 24, '<II', 1, 1_000_000_000))
    source = video.VideoReader(path)
    assert source.rate == video.USUAL_RATE
    assert f'{path}: claims 1e+09 frames per second; 25 are used' in caplog.text
    path.write_bytes(put(put(data, b'strh', 36, '<I', 0x7FFFFFFF), b'avih', 20, '<I', 0x7FFFFFFF))
    source = video.VideoReader(path)
    assert len(list(source)) == 3
    with pytest.raises(video.IncompleteVideo, match='promises 2147483647 frames, 3 can be read'):
        source.check_complete(3)


def concatenated(folder, ending, codec, *sizes):
    """Write one video after the other into a file, as recorders of broadcasts do."""
    parts = []
    for width, height in sizes:
        path = folder / f'part{ending}'
        fourcc = cv2.VideoWriter_fourcc(*codec)
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, fourcc, 25, (width, height))
        for seed in range(3):
            writer.write(stand_ins.image(height, width, seed=seed))
        writer.release()
        parts.append(path.read_bytes())
    path.write_bytes(b''.join(parts))
    return path


@pytest.mark.parametrize('codec', ['mpg1', 'mpg2', 'MJPG'])
def test_frames_that_change_their_size_are_refused(tmp_path, codec):
    """OpenCV yields frames of the first size, with what lies behind smaller ones in memory."""
    ending = '.avi' if codec == 'MJPG' else f'.{codec}'.replace('mpg', 'm').ljust(4, 'v')
    path = concatenated(tmp_path, ending, codec, (64, 48), (32, 32))
    expected = 'its frames change from 64x48 to 32x32 pixels; give all one size with another'
    assert refusal(path, path.read_bytes()).startswith(expected)
    same = concatenated(tmp_path, ending, codec, (64, 48), (64, 48))
    assert len(list(video.VideoReader(same))) >= 5


@pytest.mark.parametrize(
    ('ending', 'codec'), [('.webm', 'VP80'), ('.webm', 'VP90'), ('.avi', 'mp4v'), ('.mpg', 'mpg1')]
)
def test_sizes_are_read_from_packets(tmp_path, ending, codec):
    path = concatenated(tmp_path, ending, codec, (74, 50))
    assert video_packets.sizes_in(video._open(path)) == [(74, 50)]


def test_the_size_of_h264():
    """The sequence parameter set is one that x264 writes for 1280x720 pixels."""
    parameters = '6764001facd9405005bb011000000300100000030320f1831960'
    packet = b'\0\0\0\1\x09\xf0\0\0\0\1' + bytes.fromhex(parameters)
    size_of = video_packets.SIZE_IN_PACKET[b'h264']
    assert size_of(packet) == (1280, 720)
    assert size_of(b'\0\0\0\1\x65' + bytes(50)) is None
    for size_of in video_packets.SIZE_IN_PACKET.values():
        for cut in range(len(packet)):
            size_of(packet[:cut])
            size_of(packet[cut:])
