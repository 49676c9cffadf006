"""pyproject.toml agrees with the requirement files, and the project can be installed."""

import shutil

import pytest
import tomli
from packaging.requirements import Requirement

import common
from support import programs

PROJECT = tomli.loads((programs.PROJECT / 'pyproject.toml').read_text())['project']
GROUPS = {
    'requirements.txt': PROJECT['dependencies'],
    'requirements-deploy.txt': PROJECT['optional-dependencies']['deploy'],
    'requirements-serve.txt': PROJECT['optional-dependencies']['serve'],
    'requirements-cuda.txt': PROJECT['optional-dependencies']['cuda'],
}
COPIED = (
    'LICENSE', 'NOTICE', 'README.md', 'common', 'd3net', 'datasets', 'engine', 'layers', 'models',
    'pyproject.toml',
)  # fmt: skip
PROGRAM = """
import site, sys
site.addsitedir(sys.argv[1])
import common, models, datasets, engine
from importlib.metadata import version
assert version('nnseg') == engine.__version__, version('nnseg')
print(common.PROJECT)
"""


def pins(file):
    """Return the pinned versions of a requirement file by package."""
    lines = (programs.PROJECT / file).read_text().splitlines()
    pinned = (line.partition('#')[0].strip() for line in lines)
    return dict(line.split('==') for line in pinned if '==' in line and ' @ ' not in line)


@pytest.mark.parametrize('file', GROUPS)
def test_the_pins_lie_in_the_ranges(file):
    pinned = pins(file)
    for text in GROUPS[file]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pinned[requirement.name]), (text, pinned)


def test_every_direct_requirement_is_a_dependency():
    text = (programs.PROJECT / 'requirements.txt').read_text()
    direct = text.partition('# What the code imports\n')[2].partition('\n\n')[0]
    names = {line.split('==')[0] for line in direct.splitlines() if '==' in line.partition('#')[0]}
    assert names - {'opencv-python'} == {Requirement(text).name for text in PROJECT['dependencies']}


def test_it_installs_into_another_environment(tmp_path):
    """``pip install -e .``; what the project depends on is that of the present environment."""
    source = tmp_path / 'source'
    source.mkdir()
    for name in COPIED:
        copy = shutil.copytree if (programs.PROJECT / name).is_dir() else shutil.copy
        copy(programs.PROJECT / name, source / name)
    options = ['-q', '--no-deps', '--no-build-isolation', '--no-index', '--prefix', tmp_path]
    installed = programs.run('-m', 'pip', 'install', *options, '-e', source, cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr
    (packages,) = tmp_path.glob('lib/python*/site-packages')
    process = programs.run('-c', PROGRAM, packages, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    assert process.stdout.strip() == str(source)


def test_every_command_has_the_version():
    for command in (['infer.py'], ['-m', 'engine.config'], ['-m', 'datasets.prepare']):
        assert programs.run(*command, '--version').stdout == f'nnseg {common.__version__}\n'
