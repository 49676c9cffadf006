"""Check what an HDF5 file declares, before its values are read: links, types, places and sizes.

HDF5 follows what a file says: to other files, to sizes that no file holds, and past the end of a
chunk that unpacks to fewer bytes than its array needs. Everything here raises ``ArrayError`` for
such a file, and any of ``common.reading.hdf5.HDF5_ERRORS`` for a damaged one.
"""

import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import h5py
from h5py import h5a, h5d, h5g, h5l, h5o, h5s, h5t, h5z

MAX_NAME_LENGTH = 1024  # of an array, with its groups
MAX_ITEM_BYTES = 8  # of a number
MAX_CHUNK_BYTES = 1 << 26  # of a chunk that is larger than its array
MAX_ATTRIBUTE_BYTES = 1 << 16  # HDF5's own limit, for numbers
MAX_CHUNKS = 100_000  # of a file; h5py cuts an array of a gigabyte into 65,536 at most
# Bytes that the arrays of a file unpack to, for each of its bytes. zlib reaches a thousand.
MAX_EXPANSION = 16
SPARE_BYTES = 1 << 28  # that they may unpack to besides
UNPACKED_BYTES = 1 << 20  # unpacked at a time to measure a chunk
LZF = 32000  # h5py's own filter
# h5py stores a chunk shuffled, compressed and with a checksum, in this order.
FILTERS = {h5z.FILTER_SHUFFLE: 0, h5z.FILTER_DEFLATE: 1, LZF: 1, h5z.FILTER_FLETCHER32: 2}
DAMAGED = 'download or copy it again'
NOT_INSIDE = 'use a file that holds its values itself, as nn.save_parameters writes them'
NOT_PLAIN = 'write it again with nn.save_parameters'


class ArrayError(ValueError):
    """A file holds something that is not read; the message names the array or the link.

    Args:
        problem: The fault.
        advice: The remedy.

    Attributes:
        advice: The remedy.
    """

    def __init__(self, problem: str, advice: str = DAMAGED):
        super().__init__(problem)
        self.advice = advice


@dataclass(frozen=True)
class _Size:
    """The size of arrays.

    Attributes:
        stored: Bytes in the file.
        unpacked: Bytes in memory.
        chunks: Number of chunks.
    """

    stored: int
    unpacked: int
    chunks: int

    def __add__(self, other: '_Size') -> '_Size':
        return _Size(
            self.stored + other.stored,
            self.unpacked + other.unpacked,
            self.chunks + other.chunks,
        )


@dataclass(frozen=True)
class _Chunks:
    """The chunks of an array as the file declares them.

    Attributes:
        nbytes: Size of each chunk in memory.
        filters: Codes of the filters, in the order of writing.
        stored: Place, bits of the unused filters, and size in the file of every chunk.
    """

    nbytes: int
    filters: list[int]
    stored: dict[tuple[int, ...], tuple[int, int]]


def list_arrays(file: h5py.File) -> list[str]:
    """Return the names of all arrays, after a check of everything that a file declares.

    No value is read. Groups are separated by ``/``; the order is that of ``h5py``.

    Args:
        file: An open file.

    Raises:
        ArrayError: A link or an array is refused.
    """
    names, room, total = [], file.id.get_filesize(), _Size(0, 0, 0)
    seen = {h5o.get_info(file.id).addr}
    waiting = [(file.id, link, '') for link in reversed(_links(file.id, ''))]
    while waiting:
        parent, (link, address), above = waiting.pop()
        name = above + link
        if address in seen:
            raise ArrayError(f'{name} is a second name of another array or group', NOT_PLAIN)
        seen.add(address)
        found = h5o.open(parent, link.encode())
        if isinstance(found, h5g.GroupID):
            inside = f'{name}/'
            waiting += [(found, each, inside) for each in reversed(_links(found, inside))]
        elif isinstance(found, h5d.DatasetID):
            total += _size_of(found, name, room)
            names.append(name)
            _check_total(total, name, room)
    return names


def _check_total(total: '_Size', name: str, room: int) -> None:
    """Raise ``ArrayError`` if all arrays up to one are too large for a file of ``room`` bytes."""
    arrays = f'{name} and the arrays before it'
    if total.stored > room:
        raise ArrayError(f'{arrays} need more bytes than the file has')
    if total.unpacked > MAX_EXPANSION * room + SPARE_BYTES:
        raise ArrayError(f'{arrays} unpack to {total.unpacked} bytes, of {room}', NOT_PLAIN)
    if total.chunks > MAX_CHUNKS:
        raise ArrayError(f'{arrays} have {total.chunks} chunks', NOT_PLAIN)


def attributes(file: h5py.File, names: Iterable[str]) -> dict[str, Any]:
    """Return the attributes of a file that exist and are one text or a few numbers.

    Numbers are returned as plain values and lists.
    """
    found = {}
    for name in names:
        if not h5a.exists(file.id, name.encode()):
            continue
        attribute = h5a.open(file.id, name.encode())
        kind = attribute.get_type()
        size = math.prod(attribute.shape or ()) * kind.get_size()
        if isinstance(kind, h5t.TypeStringID):
            if kind.is_variable_str() and attribute.shape == ():
                found[name] = file.attrs[name]
        elif _is_numeric(kind) and size <= MAX_ATTRIBUTE_BYTES:
            found[name] = file.attrs[name].tolist()
    return found


def shown(text: str | bytes) -> str:
    """Return a name from a file as one line that is safe to print."""
    return text if isinstance(text, str) and text.isprintable() else ascii(text)


def _links(group: h5g.GroupID, inside: str) -> list[tuple[str, int]]:
    """Return the names in a group and the addresses of what they name.

    Args:
        group: The group.
        inside: Start of the names for messages: the group and ``/``.

    Raises:
        ArrayError: A name is not text, or a link does not lead to a place in this file.
    """
    found: list[tuple[bytes, int, Any]] = []
    # An exception cannot pass through the iteration.
    group.links.iterate(lambda raw, info: found.append((raw, info.type, info.u)), info=True)
    links = []
    for raw, kind, target in found:
        try:
            link = raw.decode()
        except UnicodeDecodeError:
            raise ArrayError(f'the name {raw!r} is not text') from None
        if not link.isprintable() or '/' in link or link in ('', '.', '..'):
            raise ArrayError(f'the name {ascii(link)} is not text')
        if len(inside + link) > MAX_NAME_LENGTH:
            start = f'{inside[:20]}...{link[:20]}'
            raise ArrayError(f'the name {start}... has more than {MAX_NAME_LENGTH} characters')
        if kind == h5l.TYPE_SOFT:
            raise ArrayError(f'{inside}{link} is a link to another name', NOT_PLAIN)
        if kind != h5l.TYPE_HARD:
            raise ArrayError(f'{inside}{link} is a link to another file', NOT_INSIDE)
        links.append((link, target))
    return links


def _size_of(dataset: h5d.DatasetID, name: str, room: int) -> _Size:
    """Return the size of an array; raise ``ArrayError`` if it is refused.

    Args:
        dataset: The array.
        name: Its name.
        room: Size of the file.
    """
    properties = dataset.get_create_plist()
    layout = properties.get_layout()
    # HDF5 opens other files to learn the shape of a virtual data set: the layout comes first.
    if layout not in (h5d.COMPACT, h5d.CONTIGUOUS, h5d.CHUNKED):
        raise ArrayError(f'{name} takes its values from elsewhere (a virtual data set)', NOT_INSIDE)
    if properties.get_external_count():
        source = shown(properties.get_external(0)[0].decode(errors='replace'))
        raise ArrayError(f'{name} takes its values from another file, {source}', NOT_INSIDE)
    if not _is_numeric(dataset.get_type()) or dataset.get_space().get_simple_extent_type() not in (
        h5s.SCALAR,
        h5s.SIMPLE,
    ):
        raise ArrayError(f'{name} is not numeric', NOT_PLAIN)
    needed: int = math.prod(dataset.shape) * dataset.get_type().get_size()
    if layout == h5d.CHUNKED:
        stored = _chunks(dataset, name, room).stored
        return _Size(sum(size for _, size in stored.values()), needed, len(stored))
    start = dataset.get_offset() if layout == h5d.CONTIGUOUS else 0
    held = dataset.get_storage_size() if start is not None else 0
    if needed and (held != needed or (start or 0) + held > room):
        raise ArrayError(f'{name} claims {needed} bytes, and the file holds {min(held, room)}')
    if properties.get_nfilters():
        raise ArrayError(f'{name} has filters, but no chunks')
    return _Size(needed, needed, 0)


def _is_numeric(kind: h5t.TypeID) -> bool:
    """Return whether a type is a plain number or truth value of at most 8 bytes."""
    try:
        dtype = kind.dtype
    except (TypeError, ValueError, RuntimeError):
        return False  # a type without a counterpart in NumPy
    return (
        dtype.kind in 'fiub'
        and dtype.itemsize <= MAX_ITEM_BYTES
        and h5py.check_enum_dtype(dtype) is None
        and kind.equal(h5t.py_create(dtype, logical=True))
    )


def _chunks(dataset: h5d.DatasetID, name: str, room: int) -> _Chunks:
    """Return the chunks of an array, after a check that the file has all of them."""
    properties = dataset.get_create_plist()
    shape, chunk = dataset.shape, properties.get_chunk()
    filters = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
    places = [FILTERS.get(code, -1) for code in filters]
    if places != sorted(set(places)) or -1 in places:
        raise ArrayError(f'{name} has filters beside gzip, lzf, shuffle and fletcher32', NOT_PLAIN)
    item = dataset.get_type().get_size()
    whole, nbytes = math.prod(shape) * item, math.prod(chunk) * item
    expected = math.prod(-(-length // part) for length, part in zip(shape, chunk, strict=True))
    if nbytes > max(whole, MAX_CHUNK_BYTES):
        raise ArrayError(f'{name} has {whole} bytes, and chunks of {nbytes} bytes', NOT_PLAIN)
    stored: dict[tuple[int, ...], tuple[int, int]] = {}
    if MAX_CHUNKS < expected <= room:
        raise ArrayError(f'{name} has {expected} chunks', NOT_PLAIN)
    problem = None if expected <= room else f'{expected} chunks'

    def collect(info: h5d.StoreInfo) -> bool | None:
        nonlocal problem
        place, size = info.chunk_offset, info.size
        packed = any(not info.filter_mask >> i & 1 for i, code in enumerate(places) if code)
        fits = all(p < length and not p % part for p, length, part in zip(place, shape, chunk))
        if not fits or place in stored or info.byte_offset is None:
            problem = f'a chunk at {place}'
        elif info.byte_offset + size > room or not packed and size != nbytes:
            problem = f'{size} bytes for the chunk at {place}'
        stored[place] = (info.filter_mask, size)
        return True if problem else None  # anything but None ends the iteration

    if problem is None and expected:
        dataset.chunk_iter(collect)
    if problem or len(stored) != expected:
        raise ArrayError(
            f'{name} claims {problem or f"{expected} chunks"}, which the file does not hold'
        )
    return _Chunks(nbytes, filters, stored)


def check_chunks(dataset: h5d.DatasetID, name: str, room: int) -> None:
    """Unpack the compressed chunks of an array piece by piece, and compare their sizes.

    HDF5 returns whatever is in memory behind a chunk that unpacks to too few bytes, and allocates
    what a chunk unpacks to, however large that is.

    Args:
        dataset: An array of a file whose arrays were listed.
        name: Its name.
        room: Size of the file.
    """
    properties = dataset.get_create_plist()
    if properties.get_layout() != h5d.CHUNKED or not properties.get_nfilters():
        return  # the listing has compared the sizes
    chunks = _chunks(dataset, name, room)
    for place, (mask, _) in chunks.stored.items():
        used = [code for i, code in enumerate(chunks.filters) if not mask >> i & 1]
        packing = next((code for code in used if FILTERS[code] == 1), None)
        _, raw = dataset.read_direct_chunk(place)
        content = memoryview(raw)[: -4 if h5z.FILTER_FLETCHER32 in used else None]
        if packing == h5z.FILTER_DEFLATE:
            size = _inflated_size(content, chunks.nbytes)
        else:
            size = len(content) if packing is None else _lzf_size(content, chunks.nbytes)
        if size != chunks.nbytes:
            raise ArrayError(f'{name}: the chunk at {place} unpacks to another size')


def _inflated_size(content: memoryview, most: int) -> int | None:
    """Return the size of a zlib stream; None if it is damaged or larger than ``most``."""
    stream, size = zlib.decompressobj(), 0
    rest: bytes | memoryview = content
    while not stream.eof and size <= most:
        try:
            piece = stream.decompress(rest, UNPACKED_BYTES)
        except zlib.error:
            return None
        rest, size = stream.unconsumed_tail, size + len(piece)
        if not piece and not rest and not stream.eof:
            return None  # the stream ends early
    return size if size <= most else None


def _lzf_size(content: memoryview, most: int) -> int | None:
    """Return the size of an LZF stream; None if it ends early or is larger than ``most``."""
    place, size = 0, 0
    while place < len(content) and size <= most:
        control = content[place]
        if control < 32:  # literal bytes follow
            place, size = place + control + 2, size + control + 1
        elif control < 224:  # a copy of earlier bytes
            place, size = place + 2, size + (control >> 5) + 2
        elif place + 1 < len(content):  # a longer copy
            size, place = size + content[place + 1] + 9, place + 3
        else:
            return None
    return size if place == len(content) and size <= most else None
