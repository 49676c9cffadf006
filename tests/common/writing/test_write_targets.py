"""Temporary files have random names, and links stay links."""

import os
import stat
import threading
from pathlib import Path

import pytest

from common import files
from common.errors import UserError
from common.writing import write_targets


def write(path: Path, text: str):
    with files.replacing(path) as temporary:
        temporary.write_text(text)


def test_the_temporary_file_is_there_before_the_block_and_has_an_unknown_name(tmp_path):
    path, seen = tmp_path / 'a.png', set()
    before = os.umask(0o027)
    try:
        for _ in range(3):
            with files.replacing(path) as temporary:
                assert stat.S_IMODE(os.lstat(temporary).st_mode) == 0o640
                assert temporary.parent == tmp_path and temporary.suffix == '.png'
                seen.add(temporary.name)
        with files.replacing(path, mode=0o600):
            pass
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(before)
    assert len(seen) == 3


def test_a_file_that_is_there_already_is_not_written(tmp_path, monkeypatch):
    """Whoever guesses the name gains nothing: the file or link there keeps its content."""
    monkeypatch.setattr(os, 'urandom', bytes)
    (tmp_path / 'own.txt').write_text('own')
    (tmp_path / f'.a.nnseg-{"0" * 16}.txt').symlink_to('own.txt')
    with pytest.raises(UserError, match=r'a.txt: cannot be written \(File exists\)'):
        write(tmp_path / 'a.txt', 'new')
    assert (tmp_path / 'own.txt').read_text() == 'own'
    assert (tmp_path / f'.a.nnseg-{"0" * 16}.txt').is_symlink()


@pytest.mark.parametrize('there', [True, False])
def test_a_link_stays_a_link(there, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'far').mkdir()
    (tmp_path / 'far/next.txt').symlink_to('../real.txt')
    link = Path('link.txt')
    link.symlink_to('far/next.txt')
    if there:
        (tmp_path / 'real.txt').write_text('old')
    files.check_writable(link)
    assert (tmp_path / 'real.txt').exists() == there
    with files.replacing(link) as temporary:
        temporary.write_text('new')
        assert temporary.resolve().parent == tmp_path  # beside the file that is replaced
    assert (tmp_path / 'real.txt').read_text() == 'new'
    assert link.is_symlink() and Path('far/next.txt').is_symlink()
    assert sorted(os.listdir()) == ['far', 'link.txt', 'real.txt']


@pytest.mark.parametrize(
    ('target', 'reason'),
    [
        ('link', 'links form a cycle'),
        ('.', 'Is a directory'),
        ('absent/file', r'cannot be written \(No such file'),
    ],
)
def test_other_links_are_refused(target, reason, tmp_path):
    (tmp_path / 'link').symlink_to(target)
    with pytest.raises(UserError, match=f'link: .*{reason}'):
        write(tmp_path / 'link', 'new')
    assert os.readlink(tmp_path / 'link') == target
    assert os.listdir(tmp_path) == ['link']


def test_a_link_to_an_open_file_receives_the_content(tmp_path):
    """As with a shell's ``>``, the file behind a descriptor is continued, not replaced."""
    with open(tmp_path / 'out.txt', 'w+') as file:
        (tmp_path / 'link').symlink_to(f'/dev/fd/{file.fileno()}')
        write(tmp_path / 'link', 'one ')
        file.seek(0, os.SEEK_END)
        file.write('two')
    assert (tmp_path / 'out.txt').read_text() == 'one two'
    assert (tmp_path / 'link').is_symlink()


@pytest.mark.skipif(not os.access('/dev/shm', os.W_OK), reason='/dev/shm is missing')
def test_files_in_shared_memory_are_ordinary_files():
    path = Path('/dev/shm', f'nnseg-test-{os.urandom(8).hex()}')
    try:
        for text in ('a longer text', 'short'):
            write(path, text)
        assert path.read_text() == 'short'
    finally:
        path.unlink(missing_ok=True)


def test_threads_that_write_one_file_do_not_meet(tmp_path):
    path, wrong, together = tmp_path / 'a.txt', [], threading.Barrier(4)

    def repeat(letter):
        together.wait()
        for _ in range(50):
            write(path, letter * 1000)
            if len(set(path.read_text())) != 1 or path.stat().st_size != 1000:
                wrong.append(letter)

    threads = [threading.Thread(target=repeat, args=(letter,)) for letter in 'abcd']
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and os.listdir(tmp_path) == ['a.txt']


def test_long_names_and_null_characters(tmp_path):
    for name in ('ä' * 125 + '.json', 'x' * 250 + '.json', 'a.' + 'y' * 253, '.' + 'z' * 254):
        write(tmp_path / name, name)
        assert (tmp_path / name).read_text() == name
    with pytest.raises(UserError, match='null character'):
        write(tmp_path / 'a\0b', '')


def test_temporary_files_of_killed_processes_are_removed_and_no_others(tmp_path):
    kept = ['.hidden', '.state.12.h5', '.a.nnseg-12.h5', 'a.nnseg-0123456789abcdef.h5', '.link.h5']
    kept += ['.folder.nnseg-0123456789abcdef.h5', '.link.nnseg-0123456789abcdef.h5']
    (tmp_path / kept[-1]).symlink_to('state.h5')
    (tmp_path / kept[-2]).mkdir()
    for name in kept[:-2]:
        (tmp_path / name).touch()
    names = ('state.h5', 'model_param_00000001.h5', 'report.png', '.twice.7.h5', 'lock', 'ä\n')
    killed = [files.replacing(tmp_path / name) for name in names]
    for block in killed:
        block.__enter__()  # and never left, as if the process was killed inside the block
    assert len(os.listdir(tmp_path)) == len(kept) + len(names)
    write_targets.remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(kept)
