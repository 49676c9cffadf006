"""pyproject.toml agrees with the requirement files, and the project can be installed."""

import shutil
from pathlib import Path

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
    'pyproject.toml', 'tools',
)  # fmt: skip
PIP = ('-m', 'pip', 'install', '-q', '--no-deps', '--no-build-isolation', '--no-index')
PROGRAM = """
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


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """A copy of the project's folder."""
    folder = tmp_path_factory.mktemp('source')
    for name in COPIED:
        copy = shutil.copytree if (programs.PROJECT / name).is_dir() else shutil.copy
        copy(programs.PROJECT / name, folder / name)
    return folder


@pytest.fixture(scope='module')
def installed(source, tmp_path_factory):
    """The site-packages of an environment into which ``pip install -e`` has put the project.

    What the project depends on is that of the present environment.
    """
    prefix = tmp_path_factory.mktemp('environment')
    process = programs.run(*PIP, '--prefix', prefix, '-e', source, cwd=prefix)
    assert process.returncode == 0, process.stderr
    (packages,) = prefix.glob('lib/python*/site-packages')
    return packages


def run_program(text, packages, folder, first=''):
    """Run a program that lies in a folder, in an environment with these site-packages."""
    (folder / 'program.py').write_text(
        f'{first}\nimport site; site.addsitedir({str(packages)!r})\n{text}'
    )
    return programs.run(folder / 'program.py', cwd=packages)


def test_it_installs_into_another_environment(source, installed, tmp_path):
    process = run_program(PROGRAM, installed, tmp_path)
    assert process.returncode == 0, process.stderr
    assert process.stdout.strip() == str(source)


def test_a_copy_without_its_folder_is_refused(source, tmp_path):
    process = programs.run(*PIP, '--prefix', tmp_path, source, cwd=tmp_path)
    assert process.returncode == 1
    (line,) = [line for line in process.stderr.splitlines() if 'error: nnseg' in line]
    assert 'configs and weights stay in its folder' in line
    assert line.endswith('type there: python -m pip install -e .')
    assert not list(tmp_path.iterdir())


def test_folders_of_data_beside_a_program_hide_no_package(source, installed, tmp_path):
    for name in ('datasets', 'models', 'common'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'photo.jpg').touch()
    process = run_program('import engine, datasets; print(datasets.IGNORE)', installed, tmp_path)
    assert process.stdout == '255\n', process.stderr


@pytest.mark.parametrize(
    'foreign, named',
    [
        ('site/datasets/__init__.py', 'site/datasets'),  # such as Hugging Face's
        ('datasets/__init__.py', 'datasets'),
        ('models.py', 'models.py'),
        ('common/__init__.py', 'common'),
    ],
)
def test_a_package_of_the_same_name_is_named_with_a_remedy(
    source, installed, tmp_path, foreign, named
):
    packages = shutil.copytree(installed, tmp_path / 'site')
    (tmp_path / foreign).parent.mkdir(exist_ok=True)
    (tmp_path / foreign).touch()
    text = 'import engine, common, datasets; print(common.__file__, datasets.__file__)'
    process = run_program(text, packages, tmp_path)
    line = process.stderr.splitlines()[-1]
    assert line.startswith('engine.name_clashes.NameClashError: ')
    assert f'{tmp_path / named} comes first on sys.path, but nnseg has a package called ' in line
    before = run_program(f'import {Path(named).stem}\n{text}', packages, tmp_path)
    assert f'{tmp_path / named} was imported before, but nnseg' in before.stderr.splitlines()[-1]
    remedy = line.partition('write at its beginning: ')[2]
    mended = run_program(text, packages, tmp_path, first=remedy)
    assert mended.stdout == f'{source}/common/__init__.py {source}/datasets/__init__.py\n'


def test_a_command_beside_a_module_of_the_same_name_says_where_to_run_it(tmp_path):
    (tmp_path / 'models.py').touch()
    command = ('-m', 'engine.config', '--version')
    process = programs.run(*command, cwd=tmp_path, PYTHONPATH=str(programs.PROJECT))
    line = programs.error_line(process)
    assert f'error: {tmp_path}/models.py comes first on sys.path' in line
    assert programs.run(*command, cwd=line.rpartition(' in the folder ')[2]).returncode == 0


def test_every_command_has_the_version():
    for command in (['infer.py'], ['-m', 'engine.config'], ['-m', 'datasets.prepare']):
        assert programs.run(*command, '--version').stdout == f'nnseg {common.__version__}\n'
