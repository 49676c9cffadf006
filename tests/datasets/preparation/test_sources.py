"""Downloads of data sets, with small archives in the real layouts from a local server."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

import datasets
from common import command
from common.errors import UserError
from datasets import prepare
from datasets.info import DataError
from datasets.preparation import sources
from datasets.registry import preparation
from support import data_server, programs
from support.archive_files import files_of, tarred
from support.data_server import zipped

DOWNLOADABLE = [name for name in datasets.names() if preparation(name).archives]


@pytest.fixture
def server(monkeypatch):
    """A server whose archives may be smaller than the published ones and have other digests."""
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


def small_archives(samples):
    """Return (archives, splits) by data set: the published archives with sample files only."""
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
def test_the_reader_finds_the_downloaded_files(name, server, shared, tmp_path):
    """The folders in the archives differ from those of the readers."""
    server.archives, splits = small_archives(shared / 'data' / 'samples')[name]
    sources.download(name, tmp_path)
    for split in splits:
        dataset = datasets.open(name, tmp_path, split)
        assert len(dataset) > 0
        for index in range(len(dataset)):
            dataset.image(index) if split == 'test' else dataset.pair(index)
    assert sorted(name for name, _ in server.requests) == sorted(server.archives)
    left = [path.name for path in (tmp_path / sources.DOWNLOADS).iterdir()]
    assert not [file for file in left if file in server.archives or 'unpacking' in file]
    sources.download(name, tmp_path)
    assert len(server.requests) == len(server.archives)


def test_only_the_listed_files_are_unpacked(server, shared, tmp_path):
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
    """A server with one archive of three files in place of COCO-Stuff 10k."""
    server.archives['cocostuff-10k-v1.1.zip'] = zipped(TEN_K)
    return server


def contents(root):
    """Return the files below a root, without those of incomplete downloads."""
    found = files_of(root)
    return {name: found[name] for name in found if not name.startswith(sources.DOWNLOADS)}


def test_an_interrupted_download_is_resumed(ten_k, tmp_path):
    ten_k.cut_after = [5000, 0]
    with pytest.raises(DataError, match='cocostuff-10k-v1.1.zip.*after 5000.*run again'):
        sources.download('cocostuff10k', tmp_path)
    assert contents(tmp_path) == {}
    sources.download('cocostuff10k', tmp_path)
    assert contents(tmp_path) == TEN_K
    assert ten_k.requests[-1] == ('cocostuff-10k-v1.1.zip', 'bytes=5000-')


def test_a_download_is_resumed_after_a_kill(ten_k, tmp_path, caplog):
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
    assert command.run_command(prepare.build_parser, prepare.main, list(map(str, words[3:]))) == 0
    assert f'{tmp_path}: cocostuff10k is complete' in caplog.text
    assert contents(tmp_path) == TEN_K
    assert [wanted for _, wanted in ten_k.requests] == [None, 'bytes=5000-']


@pytest.mark.parametrize('moved', [0, 1, 2])
def test_interrupted_unpacking_is_repeated_without_a_download(moved, ten_k, tmp_path, monkeypatch):
    """The interruption is between any two renames."""
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


def test_a_deleted_file_is_downloaded_again(ten_k, tmp_path):
    sources.download('cocostuff10k', tmp_path)
    (tmp_path / 'images' / 'a.jpg').unlink()
    (tmp_path / 'annotations' / 'a_labelTrainIds.png').write_bytes(b'made from it')
    sources.download('cocostuff10k', tmp_path)
    made = {'annotations/a_labelTrainIds.png': b'made from it'}
    assert contents(tmp_path) == {**TEN_K, **made}
    assert len(ten_k.requests) == 2


@pytest.mark.parametrize(
    'record',
    [b'', b'x images/a.jpg\n', b'\xff\n', b'7\0', b'9' * 5000 + b' a\n', b'1 a\0b\n'],
)
def test_a_damaged_list_of_unpacked_files_is_made_anew(record, ten_k, tmp_path, caplog):
    sources.download('cocostuff10k', tmp_path, keep_archives=True)
    path = tmp_path / sources.DOWNLOADS / 'cocostuff-10k-v1.1.zip.files'
    right = path.read_bytes()
    path.write_bytes(record)
    sources.download('cocostuff10k', tmp_path, keep_archives=True)
    assert f'{path}: damaged, it is not a list of files; unpacking them again' in caplog.text
    assert path.read_bytes() == right
    assert len(ten_k.requests) == 1


def test_odd_things_in_the_folder_of_downloads_are_refused(ten_k, tmp_path):
    folder = tmp_path / sources.DOWNLOADS
    folder.symlink_to(tmp_path)
    with pytest.raises(UserError, match=f'^{folder}: is a link and must be a folder; remove it'):
        sources.download('cocostuff10k', tmp_path)
    folder.unlink()
    folder.mkdir()
    for name in ('cocostuff-10k-v1.1.zip.files', 'cocostuff-10k-v1.1.zip', 'lock'):
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)
        with pytest.raises(UserError, match=f'^{folder / name}: is a pipe'):
            sources.download('cocostuff10k', tmp_path)
        (folder / name).unlink()
    assert ten_k.requests == []


def test_kept_archives_are_reused_and_verified(ten_k, tmp_path, monkeypatch):
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


def test_a_changed_archive_is_refused_by_its_recorded_digest(ten_k, tmp_path):
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


def test_the_option_overrides_the_environment_variable(ten_k, tmp_path, monkeypatch):
    monkeypatch.setenv(sources.URL_VARIABLE, 'http://127.0.0.1:9/')
    sources.download('cocostuff10k', tmp_path, ten_k.url)
    assert contents(tmp_path) == TEN_K


def test_a_missing_archive_is_one_line_with_address_and_remedy(server, tmp_path):
    with pytest.raises(DataError) as caught:
        sources.download('cocostuff10k', tmp_path)
    message = str(caught.value)
    assert '\n' not in message
    assert f'{server.url}cocostuff-10k-v1.1.zip answers 404' in message
    assert f'put the file at {tmp_path}/.downloads/cocostuff-10k-v1.1.zip' in message


def test_an_error_page_is_refused_as_an_archive(ten_k, tmp_path):
    ten_k.archives['cocostuff-10k-v1.1.zip'] = b'<html>Please log in</html>'
    with pytest.raises(DataError, match='is not a zip or tar archive'):
        sources.download('cocostuff10k', tmp_path)


def test_published_digests_are_verified(server, shared, tmp_path, monkeypatch):
    """The test's small archives are refused because they do not match these digests."""
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


def test_a_full_disk_is_detected_before_the_download(ten_k, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: SimpleNamespace(free=1999))
    with pytest.raises(DataError, match='needs about 0.0 GB, 0.0 GB are free'):
        sources.download('cocostuff10k', tmp_path)
    assert ten_k.requests == []
    free = iter([30_000, 15_000, 30_000, 30_000, 15_000])
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: SimpleNamespace(free=next(free)))
    with pytest.raises(DataError, match='cocostuff-10k-v1.1.zip: needs 0.0 MB, 0.0 MB are free'):
        sources.download('cocostuff10k', tmp_path)  # the server's file is larger than expected
    assert not list(tmp_path.glob(f'{sources.DOWNLOADS}/*.part'))
    with pytest.raises(DataError, match='cocostuff-10k-v1.1.zip: needs .* to unpack'):
        sources.download('cocostuff10k', tmp_path)
    assert contents(tmp_path) == {}


@pytest.mark.parametrize('name', ['cityscapes', 'camvid'])
def test_data_sets_without_a_download_name_their_source(name, tmp_path):
    with pytest.raises(DataError, match='https://') as caught:
        sources.download(name, tmp_path)
    assert '\n' not in str(caught.value)
    assert str(tmp_path) in str(caught.value)
