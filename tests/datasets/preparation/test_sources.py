"""Downloads of data sets: small archives in the real layouts, from a local server, hostile ones
too.
"""

import io
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import time
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import pytest

import datasets
from datasets.info import DataError
from datasets.preparation import archives, sources
from datasets.registry import preparation
from support import data_server, programs
from support.data_server import zipped

DOWNLOADABLE = [name for name in datasets.names() if preparation(name).archives]


@pytest.fixture
def server(monkeypatch):
    """The server, for archives that are smaller than the published ones and have other digests."""
    server = data_server.ArchiveServer()
    for name in DOWNLOADABLE:
        known = datasets.reader(name).PREPARATION
        small = tuple(replace(archive, size=1000, digest=None) for archive in known.archives)
        monkeypatch.setattr(datasets.reader(name), 'PREPARATION', replace(known, archives=small))
    monkeypatch.setenv(sources.URL_VARIABLE, server.url)
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()


def tarred(members):
    """A tar archive of {name: bytes}, or of members that are made already."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def files_of(folder, name=''):
    """{path below ``folder``, with ``name`` in front: bytes}, as in an archive of it."""
    return {
        name + path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }


def small_archives(samples):
    """The published archives with the sample files alone: data set, archives, splits."""
    stuff, coco = samples / 'cocostuff164k', samples / 'coco_instances'
    photos = {
        f'{split}2017.zip': zipped(files_of(stuff / 'images' / f'{split}2017', f'{split}2017/'))
        for split in ('train', 'val')
    }
    ade = zipped(files_of(samples / 'ADEChallengeData2016', 'ADEChallengeData2016/'))
    tests = files_of(samples / 'ade20k_unlabelled', 'release_test/testing/')
    ade20k = {
        'ADEChallengeData2016.zip': ade,
        'release_test.zip': zipped({'release_test/list.txt': b'', **tests}),
    }
    voc = files_of(samples / 'VOCdevkit' / 'VOC2012', 'VOCdevkit/VOC2012/')
    instances = files_of(coco / 'annotations', 'annotations/')
    both = {name.replace('val', 'train'): content for name, content in instances.items()}
    return {
        'ade20k': (ade20k, ('train', 'val', 'test')),
        'ade20k32': (ade20k, ('train', 'val')),
        'voc': ({'VOCtrainval_11-May-2012.tar': tarred(voc)}, ('train', 'val')),
        'cocostuff164k': (
            {**photos, 'stuffthingmaps_trainval2017.zip': zipped(files_of(stuff / 'annotations'))},
            ('train', 'val'),
        ),
        'cocostuff10k': (
            {'cocostuff-10k-v1.1.zip': zipped(files_of(samples / 'cocostuff10k_from164k'))},
            ('train', 'val'),
        ),
        'cocoseg21': (
            {
                'train2017.zip': zipped(files_of(coco / 'val2017', 'train2017/')),
                'val2017.zip': zipped(files_of(coco / 'val2017', 'val2017/')),
                'annotations_trainval2017.zip': zipped(
                    {**instances, **both, 'annotations/captions_val2017.json': b'{}'}
                ),
            },
            ('train', 'val'),
        ),
    }


@pytest.mark.parametrize('name', DOWNLOADABLE)
def test_the_reader_finds_what_was_downloaded(name, server, shared, tmp_path):
    """The archives' own folders differ from those of the readers."""
    server.archives, splits = small_archives(shared / 'data' / 'samples')[name]
    sources.download(name, tmp_path)
    for split in splits:
        dataset = datasets.open(name, tmp_path, split)
        assert len(dataset) > 0
        for index in range(len(dataset)):
            dataset.image(index)
            if split != 'test':
                dataset.pair(index)
    assert sorted(name for name, _ in server.requests) == sorted(server.archives)
    left = [path.name for path in (tmp_path / sources.DOWNLOADS).iterdir()]
    assert not [file for file in left if file in server.archives or 'unpacking' in file]
    sources.download(name, tmp_path)
    assert len(server.requests) == len(server.archives)


def test_only_what_is_wanted_is_unpacked(server, shared, tmp_path):
    server.archives, _ = small_archives(shared / 'data' / 'samples')['cocoseg21']
    sources.download('cocoseg21', tmp_path)
    assert sorted(os.listdir(tmp_path / 'annotations')) == [
        'instances_train2017.json',
        'instances_val2017.json',
    ]


TEN_K = {
    'images/a.jpg': b'image' * 2000,
    'annotations/a.mat': b'label' * 2000,
    'imageLists/train.txt': b'a\n',
}


@pytest.fixture
def ten_k(server):
    """A server with one archive of three files, which stand for COCO-Stuff 10k."""
    server.archives['cocostuff-10k-v1.1.zip'] = zipped(TEN_K)
    return server


def contents(root):
    """What a user sees below a root."""
    found = files_of(root)
    return {name: found[name] for name in found if not name.startswith(sources.DOWNLOADS)}


def test_a_download_that_was_cut_off_is_resumed(ten_k, tmp_path):
    ten_k.cut_after = [5000, 0]
    with pytest.raises(DataError, match='cocostuff-10k-v1.1.zip.*after 5000.*call again'):
        sources.download('cocostuff10k', tmp_path)
    assert contents(tmp_path) == {}
    sources.download('cocostuff10k', tmp_path)
    assert contents(tmp_path) == TEN_K
    assert ten_k.requests[-1] == ('cocostuff-10k-v1.1.zip', 'bytes=5000-')


def test_a_download_that_was_killed_is_resumed(ten_k, tmp_path):
    ten_k.stall_after = 5000
    words = [sys.executable, '-m', 'datasets.prepare', 'cocostuff10k', '-d', tmp_path, '--download']
    process = subprocess.Popen(words, cwd=programs.PROJECT, stderr=subprocess.PIPE)
    part = tmp_path / sources.DOWNLOADS / 'cocostuff-10k-v1.1.zip.part'
    deadline = time.monotonic() + 30
    while not part.exists() or part.stat().st_size < 5000:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert contents(tmp_path) == {}
    ten_k.stall_after = None
    finished = programs.run(*words[1:])
    assert finished.returncode == 0, finished.stderr
    assert f'{tmp_path}: cocostuff10k is complete' in finished.stderr
    assert contents(tmp_path) == TEN_K
    assert [wanted for _, wanted in ten_k.requests] == [None, 'bytes=5000-']


@pytest.mark.parametrize('moved', [0, 1, 2])
def test_unpacking_that_was_interrupted_is_done_again(moved, ten_k, tmp_path, monkeypatch):
    """Between any two files that take their places; nothing is downloaded twice."""
    rename, renamed = os.replace, []

    def interrupted(source, target):
        if '.unpacking/' in str(source):
            renamed.append(source)
            if len(renamed) > moved:
                raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, 'replace', interrupted)
    with pytest.raises(KeyboardInterrupt):
        sources.download('cocostuff10k', tmp_path)
    monkeypatch.setattr(os, 'replace', rename)
    sources.download('cocostuff10k', tmp_path)
    assert contents(tmp_path) == TEN_K
    assert len(ten_k.requests) == 1


def test_a_file_that_is_gone_is_fetched_again(ten_k, tmp_path):
    sources.download('cocostuff10k', tmp_path)
    (tmp_path / 'images' / 'a.jpg').unlink()
    (tmp_path / 'annotations' / 'a_labelTrainIds.png').write_bytes(b'made from it')
    sources.download('cocostuff10k', tmp_path)
    made = {'annotations/a_labelTrainIds.png': b'made from it'}
    assert contents(tmp_path) == {**TEN_K, **made}
    assert len(ten_k.requests) == 2


def test_archives_that_are_kept_are_used_and_verified(ten_k, tmp_path, monkeypatch):
    sources.download('cocostuff10k', tmp_path, keep_archives=True)
    shutil.rmtree(tmp_path / 'images')
    sources.download('cocostuff10k', tmp_path, keep_archives=True)
    assert contents(tmp_path) == TEN_K
    assert len(ten_k.requests) == 1
    shutil.rmtree(tmp_path / 'images')
    archive = tmp_path / sources.DOWNLOADS / 'cocostuff-10k-v1.1.zip'
    archive.write_bytes(archive.read_bytes().replace(b'image', b'IMAGE', 1))
    with pytest.raises(
        DataError, match='cocostuff-10k-v1.1.zip has changed since it was downloaded .*delete it'
    ):
        sources.download('cocostuff10k', tmp_path)
    assert contents(tmp_path).keys() == TEN_K.keys() - {'images/a.jpg'}


def test_a_digest_that_was_recorded_holds(ten_k, tmp_path):
    sources.download('cocostuff10k', tmp_path)
    shutil.rmtree(tmp_path / 'images')
    name = 'cocostuff-10k-v1.1.zip'
    ten_k.archives[name] = zipped({**TEN_K, 'images/a.jpg': b'another'})
    record = tmp_path / sources.DOWNLOADS / f'{name}.sha256'
    with pytest.raises(DataError, match=f'if the change is expected, delete {record}'):
        sources.download('cocostuff10k', tmp_path)
    record.write_text('')
    with pytest.raises(DataError, match=f'^{record}: damaged'):
        sources.download('cocostuff10k', tmp_path)
    record.unlink()
    sources.download('cocostuff10k', tmp_path)
    assert contents(tmp_path)['images/a.jpg'] == b'another'


def test_the_option_goes_before_the_environment(ten_k, tmp_path, monkeypatch):
    monkeypatch.setenv(sources.URL_VARIABLE, 'http://127.0.0.1:9/')
    sources.download('cocostuff10k', tmp_path, ten_k.url)
    assert contents(tmp_path) == TEN_K


def test_a_missing_archive_gives_one_line_with_all_that_helps(server, tmp_path):
    with pytest.raises(DataError) as caught:
        sources.download('cocostuff10k', tmp_path)
    message = str(caught.value)
    assert '\n' not in message
    assert f'{server.url}cocostuff-10k-v1.1.zip answers 404' in message
    assert f'put the file at {tmp_path}/.downloads/cocostuff-10k-v1.1.zip' in message


def test_an_error_page_is_not_taken_for_an_archive(ten_k, tmp_path):
    ten_k.archives['cocostuff-10k-v1.1.zip'] = b'<html>Please log in</html>'
    with pytest.raises(DataError, match='is no zip or tar archive'):
        sources.download('cocostuff10k', tmp_path)


def test_published_digests_are_verified(server, shared, tmp_path, monkeypatch):
    """The real table refuses the small archives."""
    for small, _ in small_archives(shared / 'data' / 'samples').values():
        server.archives |= small
    monkeypatch.undo()
    for name, algorithm in (('ade20k', 'sha1'), ('voc', 'md5'), ('cocoseg21', 'sha1')):
        known = datasets.reader(name).PREPARATION
        few = replace(known, archives=(replace(known.archives[0], size=1000),))
        monkeypatch.setattr(datasets.reader(name), 'PREPARATION', few)
        with pytest.raises(DataError, match=f'has the {algorithm} .* instead of'):
            sources.download(name, tmp_path / name, server.url)
        assert contents(tmp_path / name) == {}


def test_a_full_disk_is_seen_before_the_download(ten_k, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: SimpleNamespace(free=1999))
    with pytest.raises(DataError, match='needs about 0.0 GB, 0.0 GB are free'):
        sources.download('cocostuff10k', tmp_path)
    assert ten_k.requests == []
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: SimpleNamespace(free=15000))
    with pytest.raises(DataError, match='cocostuff-10k-v1.1.zip: needs .* to unpack'):
        sources.download('cocostuff10k', tmp_path)
    assert contents(tmp_path) == {}


@pytest.mark.parametrize('name', ['cityscapes', 'camvid'])
def test_data_sets_from_elsewhere_say_where(name, tmp_path):
    with pytest.raises(DataError, match='https://') as caught:
        sources.download(name, tmp_path)
    assert '\n' not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def unpacked(archive, root, folders=None):
    return archives.unpack(archive, root, folders or {'': ''}, root / '.downloads' / 'staging')


def link(name, kind, target='../../etc'):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as archive:
        archive.addfile(tarfile.TarInfo('images/good'))
        archive.addfile(info)
    return buffer.getvalue()


def zipped_link(mode):
    info = zipfile.ZipInfo('images/link')
    info.external_attr = mode << 16
    return zipped({'images/good': b'', info: b'/etc/passwd'})


def with_password():
    data = bytearray(zipped({'images/a': b''}))
    for signature, offset in ((b'PK\x03\x04', 6), (b'PK\x01\x02', 8)):
        data[data.index(signature) + offset] |= 1
    return bytes(data)


HOSTILE = {
    'zip parent': (zipped({'images/good': b'', '../evil': b'x'}), "'../evil' in it leads out"),
    'zip hidden parent': (zipped({'images/../../evil': b'x'}), 'leads out'),
    'zip absolute': (zipped({'/evil': b'x'}), "'/evil' in it leads out"),
    'zip drive': (zipped({'C:/evil': b'x'}), 'leads out'),
    'zip backslash': (zipped({'images\\..\\..\\evil': b'x'}), 'leads out'),
    'zip link': (zipped_link(stat.S_IFLNK | 0o777), 'is a link or a device'),
    'zip pipe': (zipped_link(stat.S_IFIFO | 0o666), 'is a link or a device'),
    'zip password': (with_password(), 'needs a password'),
    'tar parent': (tarred({'images/good': b'', '../evil': b'x'}), 'leads out'),
    'tar absolute': (tarred({'/evil': b'x'}), 'leads out'),
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


def test_damaged_archives(tmp_path):
    whole = tmp_path / 'whole'
    for content in (zipped(TEN_K), tarred(TEN_K)):
        whole.write_bytes(content)
        unpacked(whole, tmp_path / 'good')
        assert contents(tmp_path / 'good') == TEN_K
    damaged = tmp_path / 'damaged'
    for content in (zipped(TEN_K).replace(b'image', b'IMAGE', 1), tarred(TEN_K)[:6000]):
        damaged.write_bytes(content)
        with pytest.raises(DataError, match='damaged: damaged archive .*; delete it'):
            unpacked(damaged, tmp_path / 'bad')
        assert contents(tmp_path / 'bad') == {}


def test_an_archive_of_something_else(tmp_path):
    (tmp_path / 'a.zip').write_bytes(zipped({'other/a': b''}))
    with pytest.raises(DataError, match='a.zip: holds no train2017; is it the right archive'):
        unpacked(tmp_path / 'a.zip', tmp_path, {'train2017': ''})


def test_the_archives_are_in_order():
    assert set(DOWNLOADABLE) == set(datasets.names()) - {'cityscapes', 'camvid', 'folder'}
    for name in DOWNLOADABLE:
        for archive in datasets.reader(name).PREPARATION.archives:
            assert all(url.endswith('/' + archive.file) for url in archive.urls)
            digits = {'sha1': 40, 'md5': 32}
            assert archive.digest is None or len(archive.digest[1]) == digits[archive.digest[0]]


def test_the_archives_with_a_published_digest():
    """All but those of COCO-Stuff, which has none."""
    published = {
        archive.file: archive.digest and archive.digest[0]
        for name in DOWNLOADABLE
        for archive in datasets.reader(name).PREPARATION.archives
    }
    assert published == {
        'ADEChallengeData2016.zip': 'sha1',
        'release_test.zip': 'sha1',
        'VOCtrainval_11-May-2012.tar': 'md5',
        'train2017.zip': 'sha1',
        'val2017.zip': 'sha1',
        'annotations_trainval2017.zip': 'sha1',
        'stuffthingmaps_trainval2017.zip': None,
        'cocostuff-10k-v1.1.zip': None,
    }
