"""Requirement files: pinned, complete, consistent, and installed by the right make targets."""

import subprocess
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support import programs

PREINSTALLED = {'setuptools'}  # part of every new environment
FOR_DEVELOPMENT = (
    'requirements.txt requirements-deploy.txt requirements-serve.txt requirements-docs.txt '
    'requirements-dev.txt'
)
DEVELOPMENT_TARGETS = 'test', 'test-fast', 'test-all', 'test-bench', 'lint', 'hooks'


@pytest.mark.parametrize(
    'name',
    [
        'requirements', 'requirements-cuda', 'requirements-deploy', 'requirements-serve',
        'requirements-docs', 'requirements-dev',
    ],
)  # fmt: skip
def test_every_requirement_is_pinned(name):
    lines = (programs.PROJECT / f'{name}.txt').read_text().splitlines()
    packages = [line.split('#')[0].strip() for line in lines if line.split('#')[0].strip()]
    pinned = [package for package in packages if '==' in package and '@' not in package]
    guards = [package for package in packages if package not in pinned]
    assert pinned
    # uv reads no file of requirements that names a package without such an ending.
    assert all('use-Python-3.10' in guard and '.zip ;' in guard for guard in guards)


def test_requirements_agree():
    """One environment satisfies all requirement files, and the tests run the deployed versions."""
    pins = {}
    for path in programs.PROJECT.glob('requirements*.txt'):
        for line in path.read_text().splitlines():
            line = line.partition('#')[0].strip()
            if line and '@' not in line:
                package, _, version = line.partition('==')
                assert pins.setdefault(package.lower(), version) == version, f'{path}: {line}'
    assert {'onnx', 'onnxruntime', 'openvino', 'nncf'} <= pins.keys()


def pinned(name):
    """Read the pins of a requirement file.

    Returns:
        Package -> version; and the packages below the file's last heading, which other packages
        import.
    """
    text = (programs.PROJECT / f'{name}.txt').read_text()
    _, _, below = text.rpartition('\n# What ')
    both = []
    for part in (text, below):
        lines = [line.split('#')[0].strip().split('==') for line in part.splitlines()]
        both.append({canonicalize_name(line[0]): line[1] for line in lines if len(line) == 2})
    return both[0], both[1].keys()


@pytest.mark.parametrize(
    'name', ['requirements', 'requirements-deploy', 'requirements-serve', 'requirements-dev']
)
def test_a_file_pins_all_dependencies_of_its_packages_and_nothing_else(name):
    """The other files do not repeat the lines of requirements.txt."""
    plain, _ = pinned('requirements')
    own, imported = pinned(name)
    assert name == 'requirements' or not own.keys() & plain.keys()
    needed = set()
    for package in own:
        for requirement in map(Requirement, metadata.requires(package) or []):
            other = canonicalize_name(requirement.name)
            applies = requirement.marker is None or requirement.marker.evaluate({'extra': ''})
            if applies and other not in PREINSTALLED:
                version = (plain | own).get(other)
                assert version, f'{package} needs {other}'
                assert requirement.specifier.contains(version), f'{package} needs {requirement}'
                needed.add(other)
    assert imported <= needed


@pytest.mark.parametrize('name', ['deploy', 'serve'])
def test_two_files_pin_a_package_at_the_same_version(name):
    """Both files are installed together."""
    other, dev = (pinned(f'requirements-{each}')[0] for each in (name, 'dev'))
    assert all(other[package] == dev[package] for package in other.keys() & dev.keys())


@pytest.mark.parametrize(
    'target, files',
    [
        ('demo', 'requirements.txt'),
        ('bench', 'requirements.txt requirements-deploy.txt'),
        ('serve', 'requirements.txt requirements-serve.txt'),
        ('serve-environment', 'requirements.txt requirements-serve.txt'),
        *((target, FOR_DEVELOPMENT) for target in DEVELOPMENT_TARGETS),
    ],
)
def test_make_targets_install_their_requirement_files(target, files):
    command = ['make', '--no-print-directory', '-n', target]  # the tests themselves run under make

    process = subprocess.run(
        command, cwd=programs.PROJECT, capture_output=True, text=True, timeout=60
    )
    assert process.returncode == 0, process.stderr
    (command,) = (line for line in process.stdout.splitlines() if ' tools/bootstrap.py ' in line)
    assert command.endswith(f' tools/bootstrap.py {files}')
