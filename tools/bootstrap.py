"""Make the environment: find or fetch a Python 3.10, create .venv, install requirement files.

    python3 tools/bootstrap.py requirements.txt requirements-dev.txt

Runs on any Python 3 with pip, and needs nothing else, so only the standard library is used and no
syntax younger than Python 3.5. Does nothing when .venv has the very same files installed already.
"""

import hashlib
import json
import os
import subprocess
import sys

VERSION = '3.10'  # as .python-version says; NNabla has no wheels for younger ones
PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ENVIRONMENT = os.path.join(PROJECT, '.venv')
PYTHON = os.path.join(ENVIRONMENT, 'bin', 'python')
INSTALLED = os.path.join(ENVIRONMENT, 'installed.json')  # requirement file -> its SHA-256
UV_FOLDER = os.path.join(PROJECT, '.uv')
ADVICE = (
    "install Python {0} (pyenv install {0}, uv python install {0}, or your system's python{0} and "
    'python{0}-venv) and try again'
).format(VERSION)


class Failure(Exception):
    """Why the environment cannot be made, in one line."""


def main(requirements):
    """Bring .venv to the state that the files ask for."""
    wanted = {name: _digest(os.path.join(PROJECT, name)) for name in requirements}
    installed = _read_installed() if _version(PYTHON) == VERSION else {}
    if all(installed.get(name) == digest for name, digest in wanted.items()):
        return
    if not _has_pip(PYTHON):
        if not os.path.exists(INSTALLED) and _version(PYTHON):
            raise Failure(
                '.venv is an environment of Python {}, and not of our making: remove or rename '
                'it, then try again'.format(_version(PYTHON))
            )
        installed = {}
        _create_environment()
    # Once installed, a file stays asked for: `make demo` after `make test` keeps what tests need.
    files = sorted(
        set(wanted) | {name for name in installed if os.path.exists(os.path.join(PROJECT, name))}
    )
    names = ', '.join(files)
    _say('installing {} into .venv; this happens once and takes a minute'.format(names))
    options = [part for name in files for part in ('-r', name)]
    pip = [PYTHON, '-m', 'pip', 'install', '-q', '--disable-pip-version-check']
    code, output = _run(pip + options)
    if code:
        sys.stderr.write(output)
        raise Failure('pip could not install {}; what it says stands above'.format(names))
    with open(INSTALLED + '.new', 'w') as file:
        json.dump({name: _digest(os.path.join(PROJECT, name)) for name in files}, file)
    os.replace(INSTALLED + '.new', INSTALLED)


def _create_environment():
    """Create .venv with the first Python 3.10 that can; raises ``Failure`` when there is none."""
    tried, reasons = set(), []
    for interpreter in _interpreters(reasons):
        if interpreter in tried or _version(interpreter) != VERSION:
            continue
        tried.add(interpreter)
        _say('creating .venv with ' + interpreter)
        code, _ = _run([interpreter, '-m', 'venv', '--clear', ENVIRONMENT])
        if code == 0 and _has_pip(PYTHON):
            return
    raise Failure(
        'no Python {} that can create an environment was found, and uv could not fetch one{}: '
        '{}'.format(VERSION, ''.join(' (' + reason + ')' for reason in reasons), ADVICE)
    )


def _interpreters(reasons):
    """Candidates, the cheapest to ask first; the last ones are fetched. Why that fails is appended
    to ``reasons``.
    """
    yield sys.executable
    yield 'python' + VERSION
    versions = os.path.join(
        _run(['pyenv', 'root'])[1].strip() or os.path.expanduser('~/.pyenv'), 'versions'
    )
    for name in sorted(os.listdir(versions), reverse=True) if os.path.isdir(versions) else []:
        if name.startswith(VERSION):
            yield os.path.join(versions, name, 'bin', 'python')
    uv = _uv()
    if uv:
        found = _run([uv, 'python', 'find', '--system', '--no-python-downloads', VERSION])
        if found[0] == 0:
            yield found[1].strip()
        _say('fetching Python ' + VERSION + ' with uv')
        code, output = _run([uv, 'python', 'install', VERSION])
        if code:
            reasons.extend(line.strip() for line in output.strip().splitlines()[-1:])
        found = _run([uv, 'python', 'find', '--managed-python', VERSION])
        if found[0] == 0:
            yield found[1].strip()


def _uv():
    """uv from the path, else from the package index into .uv; None when it cannot be had."""
    if _run(['uv', '--version'])[0] == 0:
        return 'uv'
    local = os.path.join(UV_FOLDER, 'bin', 'uv')
    if _run([local, '--version'])[0]:
        _say('installing uv into .uv')
        pip = [sys.executable, '-m', 'pip', 'install', '-q', '--disable-pip-version-check']
        _run(pip + ['--upgrade', '--target', UV_FOLDER, 'uv'])
    return local if _run([local, '--version'])[0] == 0 else None


def _run(command):
    """Exit status and standard output of a command; 127 when it is not there."""
    try:
        process = subprocess.Popen(
            command,
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
        )
    except OSError:
        return 127, ''
    output, errors = process.communicate()
    return process.returncode, output if process.returncode == 0 else output + errors


def _version(interpreter):
    """'3.10' for an interpreter that is there and runs, else something else."""
    code, output = _run([interpreter, '-c', 'import sys; print("%d.%d" % sys.version_info[:2])'])
    return output.strip() if code == 0 else None


def _has_pip(interpreter):
    """Whether it is a Python 3.10 that can install packages."""
    return (
        _version(interpreter) == VERSION and _run([interpreter, '-m', 'pip', '--version'])[0] == 0
    )


def _read_installed():
    try:
        with open(INSTALLED) as file:
            return json.load(file)
    except (OSError, ValueError):
        return {}


def _digest(path):
    try:
        with open(path, 'rb') as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError as error:
        raise Failure(path + ': no such file of requirements') from error


def _say(message):
    sys.stderr.write(message + '\n')
    sys.stderr.flush()


if __name__ == '__main__':
    try:
        main(sys.argv[1:])
    except Failure as failure:
        sys.exit('error: ' + str(failure))
    except KeyboardInterrupt:
        _say('interrupted; the next call goes on')
        sys.exit(130)
