"""What pyproject.toml says of the project agrees with the requirement files, and installs."""

import subprocess
import sysconfig
import venv

import pytest
import tomli
from packaging.requirements import Requirement

import common
from support import programs

PROJECT = tomli.loads((programs.PROJECT / 'pyproject.toml').read_text())['project']
GROUPS = {
    'requirements.txt': PROJECT['dependencies'],
    'requirements-deploy.txt': PROJECT['optional-dependencies']['deploy'],
    'requirements-cuda.txt': PROJECT['optional-dependencies']['cuda'],
}
PROGRAM = """
import common, models, datasets, engine
from importlib.metadata import version
assert version('nnseg') == engine.__version__, version('nnseg')
print(common.PROJECT, len(models.names()))
"""


def pins(file):
    """Return the pinned versions of a requirement file by package."""
    lines = (
        line.partition('#')[0].strip()
        for line in (programs.PROJECT / file).read_text().splitlines()
    )
    return dict(line.split('==') for line in lines if '==' in line and ' @ ' not in line)


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
    """``pip install -e .``; what it depends on comes from this environment."""
    venv.create(tmp_path, with_pip=True)
    python = tmp_path / 'bin' / 'python'
    install = ['-m', 'pip', 'install', '-q', '--no-deps', '-e', programs.PROJECT]
    subprocess.run([python, *install], check=True, capture_output=True, timeout=240)
    own = next(tmp_path.glob('lib/python*/site-packages'))
    (own / 'dependencies.pth').write_text(sysconfig.get_paths()['purelib'] + '\n')
    process = subprocess.run(
        [python, '-c', PROGRAM], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.split()[0] == str(programs.PROJECT)


def test_every_command_has_the_version():
    for command in (['infer.py'], ['-m', 'engine.config'], ['-m', 'datasets.prepare']):
        assert programs.run(*command, '--version').stdout == f'nnseg {common.__version__}\n'
