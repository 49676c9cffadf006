"""Find the sizes of frames in the packets of a video, before any of them is decoded.

OpenCV does not notice that the size of frames changes within a video: it reads beyond the memory of
smaller frames, and repeats the last one for larger frames. Codecs that are not in
``SIZE_IN_PACKET`` are not looked at.
"""

from collections.abc import Callable

import cv2

Size = tuple[int, int]  # width and height in pixels

MAX_FAILURES = 64  # packets that cannot be read, one after the other
_START = b'\0\0\1'  # of a header in the streams of MPEG
_JPEG_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # segments that begin with the size
_SPS = 7  # type of a unit of H.264: sequence parameter set
# Profiles of H.264 that state the kind of colours.
_H264_COLOUR_PROFILES = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)


def sizes_in(capture: cv2.VideoCapture) -> list[Size]:
    """Return the sizes of a video's frames, in order; the search ends with the second one.

    Args:
        capture: The video, from which nothing was read; packets are read from it.

    Returns:
        No size if the packets state none.
    """
    codec = (int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF).to_bytes(4, 'little').lower()
    size_of = SIZE_IN_PACKET.get(codec)
    if size_of is None:
        return []
    capture.set(cv2.CAP_PROP_FORMAT, -1)  # packets instead of frames
    found: list[Size] = []
    failures = 0
    while failures < MAX_FAILURES and len(found) < 2:
        there, packet = capture.read()
        failures = 0 if there else failures + 1
        size = size_of(packet.tobytes()) if there else None
        if size is not None and size not in found:
            found.append(size)
    return found


class _Bits:
    """The bits of a header, read one after the other; beyond the end they are zero."""

    def __init__(self, data: bytes):
        self._value, self._left = int.from_bytes(data, 'big'), 8 * len(data)

    def read(self, count: int) -> int:
        """Return the next ``count`` bits as a number."""
        self._left -= count
        shifted = self._value >> self._left if self._left >= 0 else self._value << -self._left
        return shifted & ((1 << count) - 1)

    def read_golomb(self) -> int:
        """Return a number in the Exp-Golomb code of H.264, section 9.1."""
        zeros = 0
        while zeros < 32 and not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)


def _of_jpeg(packet: bytes) -> Size | None:
    position = 2
    while packet[position : position + 1] == b'\xff':
        kind = packet[position + 1 : position + 2]
        length = int.from_bytes(packet[position + 2 : position + 4], 'big')
        if kind and kind[0] in _JPEG_SIZES:
            head = _Bits(packet[position + 5 : position + 9])
            height = head.read(16)
            return head.read(16), height
        position += 2 + length
    return None


def _of_mpeg2(packet: bytes) -> Size | None:
    """Read the sequence header of MPEG-1 or MPEG-2: ISO/IEC 13818-2, section 6.2.2.1."""
    place = packet.find(_START + b'\xb3')
    if place < 0:
        return None
    bits = _Bits(packet[place + 4 : place + 7])
    return bits.read(12), bits.read(12)


def _of_mpeg4(packet: bytes) -> Size | None:
    """Read the header of a video object layer: ISO/IEC 14496-2, section 6.2.3."""
    for kind in range(0x20, 0x30):
        place = packet.find(_START + bytes((kind,)))
        if place >= 0:
            return _of_mpeg4_layer(_Bits(packet[place + 4 : place + 64]))
    return None


def _of_mpeg4_layer(bits: _Bits) -> Size | None:
    bits.read(9)  # random access, type
    if bits.read(1):
        bits.read(7)  # version, priority
    if bits.read(4) == 15:
        bits.read(16)  # shape of pixels
    if bits.read(1):
        bits.read(3)  # colours, delay
        if bits.read(1):
            bits.read(79)  # buffers
    if bits.read(2):
        return None  # not a rectangle
    bits.read(1)
    ticks = bits.read(16)
    bits.read(1)
    if bits.read(1):
        bits.read(max(1, (ticks - 1).bit_length()))
    bits.read(1)
    width = bits.read(13)
    bits.read(1)
    return width, bits.read(13)


def _of_vp8(packet: bytes) -> Size | None:
    """Read the header of a key frame: RFC 6386, section 9.1."""
    if not packet or packet[0] & 1 or packet[3:6] != b'\x9d\x01\x2a':
        return None
    width, height = packet[6:8], packet[8:10]
    return int.from_bytes(width, 'little') & 0x3FFF, int.from_bytes(height, 'little') & 0x3FFF


def _of_vp9(packet: bytes) -> Size | None:
    """Read the uncompressed header of a key frame: VP9 bitstream specification, section 6.2."""
    bits = _Bits(packet[:16])
    bits.read(2)
    profile = bits.read(1) + 2 * bits.read(1)
    if profile == 3:
        bits.read(1)
    if bits.read(1) or bits.read(1):  # an earlier frame is shown, or this is no key frame
        return None
    bits.read(2)
    if bits.read(24) != 0x498342:
        return None
    if profile >= 2:
        bits.read(1)
    if bits.read(3) != 7:
        bits.read(1)
        bits.read(3 if profile in (1, 3) else 0)
    else:
        bits.read(1 if profile in (1, 3) else 0)
    width = bits.read(16) + 1
    return width, bits.read(16) + 1


def _of_h264(packet: bytes) -> Size | None:
    """Return the coded size of a sequence parameter set: ITU-T H.264, section 7.3.2.1.1."""
    place = packet.find(_START)
    while place >= 0:
        unit = packet[place + 3 : place + 259]
        if len(unit) > 4 and unit[0] & 31 == _SPS:
            return _of_h264_sequence(unit.replace(b'\0\0\3', b'\0\0'))
        place = packet.find(_START, place + 3)
    return None


def _of_h264_sequence(unit: bytes) -> Size:
    bits = _Bits(unit[4:])
    bits.read_golomb()  # identifier
    if unit[1] in _H264_COLOUR_PROFILES:
        colours = bits.read_golomb()
        if colours == 3:
            bits.read(1)
        bits.read_golomb()  # bits of brightness, then of colour
        bits.read_golomb()
        bits.read(1)
        if bits.read(1):
            for number in range(8 if colours != 3 else 12):
                if bits.read(1):
                    _skip_scaling_list(bits, 16 if number < 6 else 64)
    bits.read_golomb()  # frame numbers
    order = bits.read_golomb()
    if order == 0:
        bits.read_golomb()
    elif order == 1:
        bits.read(1)
        bits.read_golomb()
        bits.read_golomb()
        for _ in range(min(255, bits.read_golomb())):
            bits.read_golomb()
    bits.read_golomb()  # reference frames
    bits.read(1)
    width, rows = bits.read_golomb() + 1, bits.read_golomb() + 1  # macroblocks
    fields = 1 if bits.read(1) else 2
    return 16 * width, 16 * rows * fields


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            code = bits.read_golomb()
            following = (last + ((code + 1) // 2 if code % 2 else -code // 2)) % 256
        last = following or last


# By the codec's name in four characters.
SIZE_IN_PACKET: dict[bytes, Callable[[bytes], Size | None]] = {
    b'mjpg': _of_jpeg,
    b'mpg1': _of_mpeg2,
    b'mpg2': _of_mpeg2,
    b'fmp4': _of_mpeg4,
    b'vp80': _of_vp8,
    b'vp90': _of_vp9,
    b'h264': _of_h264,
}
