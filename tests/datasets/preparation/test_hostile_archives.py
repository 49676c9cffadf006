"""Archives with odd names, codecs, sizes and headers end in one line, and leave nothing."""

import bz2
import contextlib
import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import tracemalloc
import zipfile

import pytest

from datasets.info import DataError
from datasets.preparation import archive_members, archives, zip_files
from support.archive_files import (
    TAR_END,
    files_of,
    tar_blocks,
    tar_header,
    tarred,
    with_field,
)
from support.data_server import zipped

FILES = {'images/a.jpg': b'image' * 2000, 'images/é.jpg': b'e', 'deep/' * 50 + 'x': b''}
ONE = zipped({'images/a': b'x' * 100})


def unpacked(content, folder):
    """Write an archive, unpack it, and return the files below the root."""
    (folder / 'archive').write_bytes(content)
    root = folder / 'root'
    archives.unpack(folder / 'archive', root, {'': ''}, root / '.downloads' / 'staging')
    return files_of(root)


def assert_refused(content, folder, problem):
    """Assert that an archive ends in one line, quickly, in little memory, and leaves nothing."""
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=problem) as caught:
            unpacked(content, folder)
        assert tracemalloc.get_traced_memory()[1] < 50e6 + 3 * len(content)
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert message.startswith(f'{folder}/archive: ')
    assert message.isprintable()
    assert len(message) < 800
    assert files_of(folder).keys() == {'archive'}


NAMES = {
    '.': 'has no name',
    'a\nb': r"'a\\nb' in it has a control character",
    'a\x1b[2Jb': r"'a\\x1b\[2Jb' in it has a control character",
    'a\u2028b': 'has a line break',
    'a\\b': 'has a backslash',
    'c:a': 'points outside',
    'n' * 256: "'n{197}...' in it has a name that is too long",
    'ü' * 128: 'has a name that is too long',
    'd/' * 101 + 'x': 'lies in more than 100 folders',
    '.downloads/lock': 'is no place for files of an archive',
}


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('pack', [zipped, tarred])
def test_odd_names_are_refused(name, pack, tmp_path):
    (tmp_path / 'archive').write_bytes(pack({'ok': b'', name: b'x'}))
    with pytest.raises(DataError, match=NAMES[name]):
        unpacked(pack({'ok': b'', name: b'x'}), tmp_path)
    assert files_of(tmp_path).keys() == {'archive'}


def test_odd_bytes_in_names_are_refused(tmp_path):
    for content, problem in (
        (zipped({'aXb': b'x'}).replace(b'aXb', b'a\0b'), r"'a\\x00b' in it has a control char"),
        (zipped({'imagesé': b'x'}).replace(b'\xc3', b'\xff'), "codec can't decode"),
        (tar_header(b'a\xff') + TAR_END, 'has a name that is not UTF-8'),
        (tar_header(b'') + TAR_END, "'' in it has no name"),
        (pax(b'13 path=a\0bc\n') + TAR_END, r"'a\\x00bc' in it has a control char"),
    ):
        assert_refused(content, tmp_path, problem)


def test_usual_names_are_unpacked(tmp_path):
    names = ['./a', 'b//c', 'd/./e', 'A', 'a b', 'é', 'e\u0301', '日本', '-rf', '~', 'x' * 255]
    for pack in (zipped, tarred):
        folder = tmp_path / pack.__name__
        folder.mkdir()
        found = unpacked(pack({name: name.encode() for name in names}), folder)
        assert sorted(found) == sorted(os.path.normpath(name) for name in names)


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path):
    both = tar_header(b'x/', kind=b'5') + tar_header(b'x') + TAR_END
    for content in (zipped({'x': b'', 'x/y': b''}), tarred({'a/x/y/z': b'', 'a/x': b''}), both):
        assert_refused(content, tmp_path, "'(a/)?x' in it is a file and a folder; delete it")


def test_the_last_of_several_files_of_a_name_counts(tmp_path):
    content = tarred({'x': b'1', 'y': b''})[:1536] + tarred({'x': b'22'})
    assert unpacked(content, tmp_path) == {'x': b'22', 'y': b''}


@pytest.mark.parametrize('method', [1, 9, 93, 99, 65535])
def test_other_codecs_are_refused(method, tmp_path):
    content = with_field(ONE, 'method', method)
    assert_refused(content, tmp_path, "'images/a' in it is compressed by .*, which is not supp")


@pytest.mark.parametrize('codec', [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_members_are_limited_by_their_size(codec, tmp_path):
    """The decompressors of zipfile have no limit: a few bytes of bzip2 become gigabytes."""
    files = {**FILES, 'zeros': bytes(20_000_000)}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', codec) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    content = buffer.getvalue()
    tracemalloc.start()
    reader = zip_files.ZipReader(io.BytesIO(content))
    sizes = {m.name: sum(map(len, reader.content(m))) for m in reader.members()}
    assert tracemalloc.get_traced_memory()[1] < 15_000_000
    tracemalloc.stop()
    assert sizes == {name: len(content) for name, content in files.items()}
    assert_refused(with_field(content, 'size', 19_999_999), tmp_path, "'zeros': Bad CRC-32")
    assert_refused(with_field(content, 'size', 20_000_001), tmp_path, 'damaged archive')
    assert_refused(with_field(content, 'crc', 1), tmp_path, "'zeros': Bad CRC-32")
    start = content.rindex(b'zeros', 0, content.index(b'PK\x01\x02')) + 5
    for place in (start + 10, start + 15, start + 20):
        flipped = bytearray(content)
        flipped[place] ^= 16
        with contextlib.suppress(DataError):  # unless the bit has no meaning
            assert unpacked(bytes(flipped), tmp_path) == files
    assert unpacked(content, tmp_path) == files


def test_modes_are_not_applied(tmp_path):
    info = zipfile.ZipInfo('a')
    info.external_attr = (stat.S_IFREG | 0o7777) << 16
    unpacked(zipped({info: b'x'}), tmp_path)
    assert stat.S_IMODE((tmp_path / 'root' / 'a').stat().st_mode) & 0o7111 == 0


ZIP_LIES = {
    ('flags', 0x20): 'damaged archive .*patched data',
    ('flags', 0x2000): 'needs a password',
    ('method', 8): 'damaged archive .*Error -3',
    ('compressed size', 99): "'images/a': Bad CRC-32",
    ('compressed size', 5000): 'its files reach beyond their place',
    ('compressed size', 0xFFFFFFFF): 'its files reach beyond their place',
    ('size', 99): "'images/a': Bad CRC-32",
    ('size', 101): "'images/a': 100 of 101 bytes",
    ('size', 0xFFFFFFFE): 'unpacks to more than 200 times its',
    ('offset', 1): 'its files reach beyond their place',
    ('offset', 0xFFFFFFFF): 'its files reach beyond their place',
    ('directory size', 0xFFFFFFFE): 'damaged archive',
    ('directory offset', 0xFFFFFFFE): "'images/a' begins before it",
}


@pytest.mark.parametrize('lie', ZIP_LIES)
def test_lies_in_zip_archives_are_found(lie, tmp_path):
    assert_refused(with_field(ONE, *lie), tmp_path, ZIP_LIES[lie])


def zip_bomb(copies):
    """Return a zip archive whose members all have the same compressed bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('zeros', bytes(100_000))
    one = buffer.getvalue()
    start, end = one.index(b'PK\x01\x02'), one.index(b'PK\x05\x06')
    directory = one[start:end] * copies
    sizes = struct.pack('<HHL', copies, copies, len(directory))
    return one[:start] + directory + one[end : end + 8] + sizes + one[end + 16 :]


def test_bombs_are_refused(tmp_path, monkeypatch):
    assert_refused(zip_bomb(900), tmp_path, "'zeros' in it shares its bytes with another file")
    monkeypatch.setattr(archive_members, 'SMALL_BYTES', 1_000_000)
    monkeypatch.setattr(archive_members, 'SMALL_COUNT', 100)
    zeros = bytes(2_000_000)
    for content in (tarred({'a': zeros}), tar_header(kind=b'x', size=b'00007777777') + zeros):
        for compress in (gzip.compress, bz2.compress, lzma.compress):
            problem = 'unpacks to more than 200 times its|an extended header of 2097151 bytes'
            assert_refused(compress(content), tmp_path, problem)
    assert_refused(with_field(ONE, 'size', 1_000_001), tmp_path, 'unpacks to more than 200 times')
    many = b''.join(tar_header(b'%d' % number) for number in range(200))
    assert_refused(bz2.compress(many), tmp_path, 'it has 101 or more files in .* bytes')


def pax(*records, kind=b'x', size=None):
    """Return an extended header with records, and a file that they describe."""
    content = b''.join(records)
    size = b'%011o' % len(content) if size is None else size
    return tar_header(b'p', size, kind) + tar_blocks(content) + tar_header(b'file')


HUGE = b'\x80\0\0\0\x7f' + b'\xff' * 7  # 2**63 - 1
SPARSE = b'22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n'
TAR_LIES = {
    'huge file': (tar_header(size=HUGE), 'it ends at byte'),
    'negative size': (tar_header(size=b'\xff' * 12), 'the size -1 at byte 0'),
    'no number': (tar_header(b'ok') + tar_header(size=b'9' * 12), 'at byte 512'),
    'huge pax header': (pax(size=HUGE), 'an extended header of 9223372036854775807 bytes'),
    'huge long name': (pax(kind=b'L', size=HUGE), 'an extended header of'),
    'cut pax header': (pax(size=b'%011o' % 99999)[:-512], 'it ends at byte'),
    'negative record': (pax(b'-5 path=a\n'), 'a bad extended header at byte 0'),
    'empty record': (pax(b'0 path=a\n'), 'a bad extended header at byte 0'),
    'long record': (pax(b'99 path=a\n'), 'a bad extended header at byte 0'),
    'digits': (pax(b'9' * 500_000), 'a bad extended header at byte 0'),
    'ones': (pax(b'1 ' * 250_000 + b'='), 'a bad extended header at byte 0'),
    'negative pax size': (pax(b'11 size=-1\n'), "the size b'-1' of 'file'"),
    'large pax size': (pax(b'16 size=9999999\n'), 'it ends at byte'),
    'odd pax size': (pax(b'12 size=1_0\n'), "the size b'1_0' of 'file'"),
    'global path': (pax(b'10 path=a\n', kind=b'g'), 'a header for all files at byte 0 sets'),
    'sparse': (tar_header(kind=b'S'), "'a' in it is a sparse file"),
    'pax sparse': (pax(SPARSE), "'file' in it is a sparse file"),
    'pipe': (tar_header(kind=b'6'), "'a' in it is a link or a device"),
    'dump of a folder': (tar_header(kind=b'D'), "'a' in it is of the unknown type b'D'"),
    'no end': (tarred({'a': b''})[:512], 'it ends at byte 512'),
}


@pytest.mark.parametrize('case', TAR_LIES)
def test_lies_in_tar_archives_are_found(case, tmp_path):
    content, problem = TAR_LIES[case]
    end = b'' if case == 'no end' else TAR_END
    assert_refused(content + end, tmp_path, problem)


def test_a_damaged_header_is_not_the_end_of_an_archive(tmp_path):
    content = bytearray(tarred({'a': b'', 'b': b'', 'c': b''}))
    content[512] ^= 1
    assert_refused(bytes(content), tmp_path, 'damaged archive .bad checksum at byte 512.; delete')


def test_chains_of_extended_headers_are_read(tmp_path):
    chain = (tar_header(b'p', b'%011o' % 10, b'L') + tar_blocks(b'aaaaaaaaa\0')) * 3000
    assert unpacked(chain + pax(b'10 path=b\n') + TAR_END, tmp_path) == {'b': b''}


@pytest.mark.parametrize('compress', [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize('form', [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_archives_of_tar_are_unpacked(compress, form, tmp_path):
    files = {**FILES, 'l' * 80 + '/' + 'n' * 90: b'long name'}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w', format=form) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), 1.5 if form == tarfile.PAX_FORMAT else 1
            archive.addfile(info, io.BytesIO(content))
    content = buffer.getvalue()
    assert unpacked(compress(content[:1000]) + compress(content[1000:]), tmp_path) == files


def test_damaged_compression_is_found(tmp_path):
    content = tarred(FILES)
    for compress in (gzip.compress, bz2.compress, lzma.compress):
        whole = compress(content)
        assert_refused(whole[: len(whole) // 2], tmp_path, 'damaged archive .*; delete it')
        assert_refused(whole[:-5], tmp_path, 'damaged archive .*; delete it')


def test_a_bit_that_only_the_checksum_of_the_archive_shows_is_found(tmp_path):
    stored = bytearray(gzip.compress(tarred(FILES), 0))
    stored[stored.index(b'image' * 20)] ^= 1
    assert_refused(bytes(stored), tmp_path, 'damaged archive .CRC check failed .*; delete it')
    packed = bytearray(bz2.compress(tarred(FILES)))
    packed[-3] ^= 1
    assert_refused(bytes(packed), tmp_path, 'damaged archive .Invalid data stream.; delete it')


def test_a_tar_archive_that_ends_with_a_zip_archive_is_one(tmp_path):
    files = {'a': b'1', 'inner.zip': ONE}
    assert unpacked(tarred(files), tmp_path) == files


def test_the_remedy_of_a_damaged_archive_names_its_record(tmp_path):
    with pytest.raises(DataError, match='damaged archive') as caught:
        unpacked(tarred(FILES)[:900], tmp_path)
    assert f'by rm -f {tmp_path}/archive {tmp_path}/archive.sha256 and run' in str(caught.value)


def test_links_in_the_target_are_not_followed(tmp_path):
    root, outside = tmp_path / 'root', tmp_path / 'outside'
    outside.mkdir()
    (outside / 'kept').write_bytes(b'kept')
    content = zipped({'first': b'1', 'images/kept': b'x'})
    for name, target in (('images', outside), ('images/kept', outside / 'kept')):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
        with pytest.raises(DataError, match=f'^{path}: is a link; remove it'):
            unpacked(content, tmp_path)
        assert not (root / 'first').exists()
        path.unlink()
    assert files_of(outside) == {'kept': b'kept'}
    (root / 'images').rmdir()
    (root / 'elsewhere').mkdir()
    (root / 'images').symlink_to('elsewhere')
    unpacked(content, tmp_path)
    assert (root / 'elsewhere' / 'kept').read_bytes() == b'x'


def test_other_things_in_the_target_are_kept(tmp_path):
    root = tmp_path / 'root'
    (root / 'a' / 'b').mkdir(parents=True)
    (root / 'c').write_bytes(b'kept')
    for content, problem in (
        (zipped({'x': b'', 'a/b': b''}), 'a/b: is not a file, but the archive has one there'),
        (zipped({'x': b'', 'c/d': b''}), 'c: is not a folder, but the archive has one there'),
    ):
        with pytest.raises(DataError, match=f'{root}/{problem}; remove it'):
            unpacked(content, tmp_path)
    assert files_of(root) == {'c': b'kept'}
    staging = root / '.downloads' / 'staging'
    staging.symlink_to(root / 'a')
    with pytest.raises(DataError, match=f'^{staging}: is a link'):
        unpacked(ONE, tmp_path)
