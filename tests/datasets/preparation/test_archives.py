"""Archives: hostile and damaged ones are refused as a whole, before anything is written."""

import io
import stat
import tarfile
import zipfile

import pytest

from datasets.info import DataError
from datasets.preparation import archives
from support.archive_files import files_of, tarred
from support.data_server import zipped

FILES = {
    'images/a.jpg': b'image' * 2000,
    'annotations/a.mat': b'label' * 2000,
    'imageLists/train.txt': b'a\n',
}


def unpacked(archive, root, folders=None):
    """Unpack all or some folders of an archive into a root."""
    return archives.unpack(archive, root, folders or {'': ''}, root / '.downloads' / 'staging')


def link(name, kind, target='../../etc'):
    """Return a tar archive of a good file and a link or device."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as archive:
        archive.addfile(tarfile.TarInfo('images/good'))
        archive.addfile(info)
    return buffer.getvalue()


def zipped_link(mode):
    """Return a zip archive of a good file and a member with a file mode."""
    info = zipfile.ZipInfo('images/link')
    info.external_attr = mode << 16
    return zipped({'images/good': b'', info: b'/etc/passwd'})


def with_password():
    """Return a zip archive whose only file is marked as encrypted."""
    data = bytearray(zipped({'images/a': b''}))
    for signature, offset in ((b'PK\x03\x04', 6), (b'PK\x01\x02', 8)):
        data[data.index(signature) + offset] |= 1
    return bytes(data)


HOSTILE = {
    'zip parent': (zipped({'images/good': b'', '../evil': b'x'}), "'../evil' in it points outside"),
    'zip hidden parent': (zipped({'images/../../evil': b'x'}), 'points outside'),
    'zip absolute': (zipped({'/evil': b'x'}), "'/evil' in it points outside"),
    'zip drive': (zipped({'C:/evil': b'x'}), 'points outside'),
    'zip backslash': (zipped({'images\\..\\..\\evil': b'x'}), 'points outside'),
    'zip link': (zipped_link(stat.S_IFLNK | 0o777), 'is a link or a device'),
    'zip pipe': (zipped_link(stat.S_IFIFO | 0o666), 'is a link or a device'),
    'zip password': (with_password(), 'needs a password'),
    'tar parent': (tarred({'images/good': b'', '../evil': b'x'}), 'points outside'),
    'tar absolute': (tarred({'/evil': b'x'}), 'points outside'),
    'tar symbolic link': (link('images/link', tarfile.SYMTYPE), 'is a link or a device'),
    'tar hard link': (link('images/link', tarfile.LNKTYPE), 'is a link or a device'),
    'tar device': (link('images/null', tarfile.CHRTYPE), 'is a link or a device'),
}


@pytest.mark.parametrize('case', HOSTILE)
def test_hostile_archives_are_refused_as_a_whole(case, tmp_path):
    content, problem = HOSTILE[case]
    root = tmp_path / 'a' / 'b'
    root.mkdir(parents=True)
    archive = tmp_path / 'archive'
    archive.write_bytes(content)
    with pytest.raises(DataError, match=f'archive: refused, .*{problem}'):
        unpacked(archive, root)
    assert files_of(tmp_path).keys() == {'archive'}


def test_damaged_archives_leave_no_files(tmp_path):
    whole = tmp_path / 'whole'
    for content in (zipped(FILES), tarred(FILES)):
        whole.write_bytes(content)
        unpacked(whole, tmp_path / 'good')
        assert files_of(tmp_path / 'good') == FILES
    damaged = tmp_path / 'damaged'
    for content in (zipped(FILES).replace(b'image', b'IMAGE', 1), tarred(FILES)[:6000]):
        damaged.write_bytes(content)
        with pytest.raises(DataError, match='damaged: damaged archive .*; delete it'):
            unpacked(damaged, tmp_path / 'bad')
        found = files_of(tmp_path / 'bad')
        assert [name for name in found if not name.startswith('.downloads/')] == []


def test_an_archive_with_other_contents_is_refused(tmp_path):
    (tmp_path / 'a.zip').write_bytes(zipped({'other/a': b''}))
    with pytest.raises(DataError, match='a.zip: contains no train2017; is it the right archive'):
        unpacked(tmp_path / 'a.zip', tmp_path, {'train2017': ''})
