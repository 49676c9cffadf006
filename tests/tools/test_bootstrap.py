"""The set-up: what `make demo` and `make test` do before anything else."""

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support import programs

SCRIPT = programs.PROJECT / 'tools' / 'bootstrap.py'
BY_VENV = {'setuptools'}  # what an environment has that nothing was installed into


@pytest.fixture
def project(tmp_path):
    """A copy of the script in a project whose requirements need no package index."""
    (tmp_path / 'tools').mkdir()
    shutil.copy(SCRIPT, tmp_path / 'tools')
    (tmp_path / 'requirements.txt').write_text('# nothing\n')
    (tmp_path / 'more.txt').write_text('# nothing\n')
    return tmp_path


def set_up(project, *requirements):
    return subprocess.run(
        [sys.executable, str(project / 'tools' / 'bootstrap.py'), *requirements],
        env={**os.environ, 'PIP_NO_INDEX': '1'},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_an_environment_is_made_once_and_completed_when_a_file_changes(project):
    first = set_up(project, 'requirements.txt')
    assert first.returncode == 0, first.stderr
    assert 'creating .venv' in first.stderr
    python = project / '.venv' / 'bin' / 'python'
    version = subprocess.check_output([python, '-c', 'import sys; print(sys.version_info[:2])'])
    assert version.strip() == b'(3, 10)'

    again = set_up(project, 'requirements.txt')
    assert (again.returncode, again.stdout, again.stderr) == (0, '', '')

    (project / 'requirements.txt').write_text('# something else\n')
    changed = set_up(project, 'more.txt')
    assert 'creating' not in changed.stderr
    assert 'installing more.txt, requirements.txt into .venv' in changed.stderr
    assert set_up(project, 'requirements.txt', 'more.txt').stderr == ''

    python.unlink()  # the interpreter was uninstalled, or the project moved to another machine
    repaired = set_up(project, 'requirements.txt')
    assert repaired.returncode == 0, repaired.stderr
    assert 'creating .venv' in repaired.stderr


def test_a_failed_installation_is_not_taken_for_done(project):
    (project / 'more.txt').write_text('no-such-package==1\n')
    for _ in range(2):
        failed = set_up(project, 'more.txt')
        assert failed.returncode == 1
        last = failed.stderr.splitlines()[-1]
        assert last == 'error: pip could not install more.txt; what it says stands above'
        assert 'no-such-package' in failed.stderr


def test_an_environment_of_someone_else_is_left_alone(project):
    """A .venv of another Python version that we have not made."""
    python = project / '.venv' / 'bin' / 'python'
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho 3.12\n')
    python.chmod(0o755)
    refused = set_up(project, 'requirements.txt')
    assert refused.returncode == 1
    assert 'error: .venv is an environment of Python 3.12' in refused.stderr
    assert python.read_text().startswith('#!/bin/sh')


def test_ctrl_c_is_no_traceback(project):
    """While pip waits for a package index that does not answer."""
    with socket.create_server(('127.0.0.1', 0)) as silent:
        (project / 'more.txt').write_text(
            f'--index-url http://127.0.0.1:{silent.getsockname()[1]}/\nno-such-package==1\n'
        )
        process = subprocess.Popen(
            [sys.executable, str(project / 'tools' / 'bootstrap.py'), 'more.txt'],
            env={k: v for k, v in os.environ.items() if not k.startswith('PIP_')},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        silent.settimeout(60)
        connection, _ = silent.accept()
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        connection.close()
    assert process.returncode == 130
    assert errors.splitlines()[-1] == 'interrupted; the next call goes on'
    assert 'Traceback' not in errors


def test_where_no_interpreter_can_be_had_one_line_says_what_to_install(project, monkeypatch):
    spec = importlib.util.spec_from_file_location('bootstrap', project / 'tools' / 'bootstrap.py')
    bootstrap = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bootstrap)
    monkeypatch.setattr(bootstrap, 'VERSION', '3.99')
    monkeypatch.setenv('PIP_NO_INDEX', '1')  # uv cannot be installed either
    monkeypatch.setenv('PIP_FIND_LINKS', '')
    monkeypatch.setenv('PATH', '')
    with pytest.raises(
        bootstrap.BootstrapError, match='no Python 3.99 .* was found.*: install Python'
    ):
        bootstrap.main(['requirements.txt'])
    assert not (project / '.venv').exists()


@pytest.mark.parametrize(
    'name', ['requirements', 'requirements-cuda', 'requirements-deploy', 'requirements-dev']
)
def test_every_requirement_is_pinned(name):
    lines = (programs.PROJECT / f'{name}.txt').read_text().splitlines()
    packages = [line.split('#')[0].strip() for line in lines if line.split('#')[0].strip()]
    pinned = [package for package in packages if '==' in package and '@' not in package]
    guards = [package for package in packages if package not in pinned]
    assert pinned
    assert all('use-Python-3.10' in guard for guard in guards)


def pinned(name):
    """Package -> version, of a file of requirements; and the packages that only others import,
    which stand below its last heading.
    """
    text = (programs.PROJECT / f'{name}.txt').read_text()
    _, _, below = text.rpartition('\n# What ')
    both = []
    for part in (text, below):
        lines = [line.split('#')[0].strip().split('==') for line in part.splitlines()]
        both.append({canonicalize_name(line[0]): line[1] for line in lines if len(line) == 2})
    return both[0], both[1].keys()


@pytest.mark.parametrize('name', ['requirements', 'requirements-deploy', 'requirements-dev'])
def test_a_file_pins_what_its_packages_import_and_nothing_else(name):
    """Beside requirements.txt, none of whose lines it repeats."""
    plain, _ = pinned('requirements')
    own, imported = pinned(name)
    assert name == 'requirements' or not own.keys() & plain.keys()
    needed = set()
    for package in own:
        for requirement in map(Requirement, metadata.requires(package) or []):
            other = canonicalize_name(requirement.name)
            applies = requirement.marker is None or requirement.marker.evaluate({'extra': ''})
            if applies and other not in BY_VENV:
                version = (plain | own).get(other)
                assert version, f'{package} needs {other}'
                assert requirement.specifier.contains(version), f'{package} needs {requirement}'
                needed.add(other)
    assert imported <= needed


def test_what_two_files_pin_has_one_version():
    """They are installed together."""
    deploy, dev = (pinned(f'requirements-{name}')[0] for name in ('deploy', 'dev'))
    assert all(deploy[package] == dev[package] for package in deploy.keys() & dev.keys())


@pytest.mark.parametrize(
    'target, files',
    [
        ('demo', 'requirements.txt'),
        ('bench', 'requirements.txt requirements-deploy.txt'),
        ('test', 'requirements.txt requirements-deploy.txt requirements-dev.txt'),
    ],
)
def test_what_make_installs(target, files):
    command = ['make', '--no-print-directory', '-n', target]  # these tests run under make, too
    process = subprocess.run(
        command, cwd=programs.PROJECT, capture_output=True, text=True, timeout=60
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines()[0].endswith(f' tools/bootstrap.py {files}')


def test_the_installed_file_is_whole_at_any_moment(project):
    assert set_up(project, 'requirements.txt').returncode == 0
    record = project / '.venv' / 'installed.json'
    assert list(json.loads(record.read_text())) == ['requirements.txt']
    record.write_text('{"requ')  # killed while writing, by a version that did not rename
    assert set_up(project, 'requirements.txt').returncode == 0
    assert list(json.loads(record.read_text())) == ['requirements.txt']
