"""tools/bootstrap.py, which every make target runs first: creating and updating .venv."""

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys

import pytest

from support import programs
from support.shared_results import computed_once

SCRIPT = programs.PROJECT / 'tools' / 'bootstrap.py'


def create_project(folder):
    """Write a project with the script and requirement files that need no package index."""
    (folder / 'tools').mkdir(parents=True)
    shutil.copy(SCRIPT, folder / 'tools')
    (folder / 'requirements.txt').write_text('# nothing\n')
    (folder / 'more.txt').write_text('# nothing\n')
    return folder


@pytest.fixture
def project(tmp_path):
    """A project without an environment."""
    return create_project(tmp_path / 'project')


@pytest.fixture(scope='module')
def first_run(tmp_path_factory):
    """A project in which bootstrap has run once, its exit status and its messages."""

    def run(folder):
        process = bootstrap(create_project(folder / 'project'), 'requirements.txt')
        return process.returncode, process.stderr

    folder, result = computed_once(tmp_path_factory, 'bootstrap', run)
    return folder / 'project', *result


@pytest.fixture
def ready(first_run, tmp_path):
    """A copy of a project with its environment."""
    return shutil.copytree(first_run[0], tmp_path / 'project', symlinks=True)


def bootstrap(project, *requirements):
    return subprocess.run(
        [sys.executable, str(project / 'tools' / 'bootstrap.py'), *requirements],
        env={**os.environ, 'PIP_NO_INDEX': '1'},
        capture_output=True,
        text=True,
        timeout=120,
    )


def load_script(project):
    """Import the project's copy of the script."""
    spec = importlib.util.spec_from_file_location('bootstrap', project / 'tools' / 'bootstrap.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_environment_has_python_3_10(first_run):
    project, status, messages = first_run
    assert status == 0, messages
    assert 'creating .venv' in messages
    python = project / '.venv' / 'bin' / 'python'
    version = subprocess.check_output([python, '-c', 'import sys; print(sys.version_info[:2])'])
    assert version.strip() == b'(3, 10)'


def test_the_second_run_does_nothing(ready):
    again = bootstrap(ready, 'requirements.txt')
    assert (again.returncode, again.stdout, again.stderr) == (0, '', '')


def test_changed_and_additional_files_are_installed_into_the_same_environment(ready):
    (ready / 'requirements.txt').write_text('# something else\n')
    changed = bootstrap(ready, 'more.txt')
    assert 'creating' not in changed.stderr
    assert 'installing more.txt, requirements.txt into .venv' in changed.stderr
    assert bootstrap(ready, 'requirements.txt', 'more.txt').stderr == ''


def test_an_environment_with_a_missing_interpreter_is_created_again(ready, monkeypatch, capsys):
    """The interpreter was uninstalled, or the project was moved to another machine.

    Stands in for ``python -m venv``, which the first run really calls: the fresh environment is a
    copy of the old one.
    """
    script, environment = load_script(ready), ready / '.venv'
    fresh = shutil.copytree(environment, ready / 'fresh', symlinks=True)
    (environment / 'bin' / 'python').unlink()
    run, created = script._run, []

    def run_with_copied_environment(command):
        if '-m' in command and 'venv' in command:
            created.append(command[1:])
            shutil.rmtree(environment)
            shutil.copytree(fresh, environment, symlinks=True)
            return 0, ''
        return run(command)

    monkeypatch.setattr(script, '_run', run_with_copied_environment)
    script.main(['requirements.txt'])
    assert created == [['-m', 'venv', '--clear', str(environment)]]
    messages = capsys.readouterr().err
    assert 'creating .venv' in messages
    assert 'installing requirements.txt' in messages


def test_a_failed_installation_is_repeated(ready):
    (ready / 'more.txt').write_text('no-such-package==1\n')
    for _ in range(2):
        failed = bootstrap(ready, 'more.txt')
        assert failed.returncode == 1
        last, names = failed.stderr.splitlines()[-1], 'more.txt, requirements.txt'
        assert last == f'error: pip could not install {names}; its output is above'
        assert 'no-such-package' in failed.stderr


def test_a_foreign_environment_is_not_replaced(project):
    """A .venv of another Python version that the script did not create."""
    python = project / '.venv' / 'bin' / 'python'
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho 3.12\n')
    python.chmod(0o755)
    refused = bootstrap(project, 'requirements.txt')
    assert refused.returncode == 1
    assert 'error: .venv is an environment of Python 3.12' in refused.stderr
    assert python.read_text().startswith('#!/bin/sh')


def test_ctrl_c_ends_in_one_line(ready):
    """While pip waits for a package index that does not answer."""
    with socket.create_server(('127.0.0.1', 0)) as silent:
        (ready / 'more.txt').write_text(
            f'--index-url http://127.0.0.1:{silent.getsockname()[1]}/\nno-such-package==1\n'
        )
        process = subprocess.Popen(
            [sys.executable, str(ready / 'tools' / 'bootstrap.py'), 'more.txt'],
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
    assert errors.splitlines()[-1] == 'interrupted; run it again to continue'
    assert 'Traceback' not in errors


def test_without_any_interpreter_one_line_says_what_to_install(project, monkeypatch):
    script = load_script(project)
    monkeypatch.setattr(script, 'VERSION', '3.99')
    monkeypatch.setenv('PIP_NO_INDEX', '1')  # uv cannot be installed either
    monkeypatch.setenv('PIP_FIND_LINKS', '')
    monkeypatch.setenv('PATH', '')
    message = 'no Python 3.99 .* was found.*: install Python'
    with pytest.raises(script.BootstrapError, match=message):
        script.main(['requirements.txt'])
    assert not (project / '.venv').exists()


def test_a_truncated_record_of_installed_files_is_written_again(ready):
    """A version without the atomic rename was killed while writing it."""
    record = ready / '.venv' / 'installed.json'
    assert list(json.loads(record.read_text())) == ['requirements.txt']
    record.write_text('{"requ')
    assert bootstrap(ready, 'requirements.txt').returncode == 0
    assert list(json.loads(record.read_text())) == ['requirements.txt']
