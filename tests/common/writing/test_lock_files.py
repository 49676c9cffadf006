"""Lock files: what they refuse, and that they empty nothing."""

import os
import subprocess
import sys

import pytest

from common.errors import UserError
from common.writing import lock_files


@pytest.mark.parametrize(
    ('make', 'reason'),
    [
        (lambda path: path.symlink_to(path.with_name('own.txt')), 'is a link'),
        (lambda path: path.symlink_to('nowhere'), 'is a link'),
        (lambda path: path.symlink_to(path), 'is a link'),
        (os.mkfifo, 'is a pipe'),
        (os.mkdir, 'is a folder'),
    ],
    ids=['link', 'dangling', 'loop', 'pipe', 'folder'],
)
def test_only_files_are_locked(make, reason, tmp_path):
    (tmp_path / 'own.txt').write_text('kept')
    make(tmp_path / 'lock')
    with pytest.raises(UserError, match=f'lock: .*{reason}'), lock_files.waiting(tmp_path / 'lock'):
        pass
    assert (tmp_path / 'own.txt').read_text() == 'kept'
    assert sorted(os.listdir(tmp_path)) == ['lock', 'own.txt']


def test_the_content_of_a_lock_file_stays(tmp_path):
    """A lock file can be a second name of a file that the user wants to keep."""
    own, lock = tmp_path / 'own.txt', tmp_path / 'lock'
    own.write_bytes(b'\x1b[31m' + b'kept' * 1000)
    os.link(own, lock)
    with lock_files.waiting(lock), lock_files.open_lock(lock) as file:
        assert not lock_files.try_lock(file)
        lock_files.sign(file)
        assert lock_files.holder(file) == 'another process'
    assert own.read_bytes() == b'\x1b[31m' + b'kept' * 1000


def test_a_record_replaces_an_earlier_one(tmp_path):
    (tmp_path / 'lock').write_text('process 123456789 on some-longer-name.example')
    with lock_files.open_lock(tmp_path / 'lock') as file:
        assert lock_files.try_lock(file)
        lock_files.sign(file)
        assert lock_files.holder(file).startswith(f'process {os.getpid()} on ')
    assert b'123456789' not in (tmp_path / 'lock').read_bytes()


def test_a_lock_is_not_passed_on_to_child_processes(tmp_path):
    with lock_files.open_lock(tmp_path / 'lock') as file:
        code = f'import os; os.fstat({file.fileno()})'
        child = subprocess.run([sys.executable, '-S', '-c', code], capture_output=True)
    assert b'Bad file descriptor' in child.stderr
