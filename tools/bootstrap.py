"""Create .venv: find or download a Python 3.10 and install requirement files.

    python3 tools/bootstrap.py requirements.txt requirements-dev.txt

The script runs on any Python 3 with pip: it uses only the standard library and the syntax of Python
3.5. It does nothing if the same versions of these files are already installed in .venv.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile

VERSION = '3.10'  # as in .python-version; NNabla has no wheels for newer versions
PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ENVIRONMENT = os.path.join(PROJECT, '.venv')
PYTHON = os.path.join(ENVIRONMENT, 'bin', 'python')
INSTALLED = os.path.join(ENVIRONMENT, 'installed.json')  # requirement file -> its SHA-256
UV_FOLDER = os.path.join(PROJECT, '.uv')
ADVICE = (
    "install Python {0} (pyenv install {0}, uv python install {0}, or your system's python{0} and "
    'python{0}-venv) and try again'
).format(VERSION)


class BootstrapError(Exception):
    """The environment cannot be created; the message gives the reason in one line."""


def main(requirements):
    """Install the requirement files into .venv, and create it if necessary."""
    wanted = {name: _digest(os.path.join(PROJECT, name)) for name in requirements}
    installed = _read_installed() if _version(PYTHON) == VERSION else {}
    if all(installed.get(name) == digest for name, digest in wanted.items()):
        return
    if not _has_pip(PYTHON):
        if not os.path.exists(INSTALLED) and _version(PYTHON):
            raise BootstrapError(
                '.venv is an environment of Python {} that this project did not create: remove or '
                'rename it, then try again'.format(_version(PYTHON))
            )
        installed = {}
        _create_environment()
    # Files installed earlier stay installed: `make demo` after `make test` keeps the test packages.
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
        raise BootstrapError('pip could not install {}; its output is above'.format(names))
    with tempfile.NamedTemporaryFile('w', dir=os.path.dirname(INSTALLED), delete=False) as file:
        json.dump({name: _digest(os.path.join(PROJECT, name)) for name in files}, file)
    os.replace(file.name, INSTALLED)


def _create_environment():
    """Create .venv with the first working Python 3.10, or raise ``BootstrapError``."""
    tried, reasons = set(), []
    for interpreter in _interpreters(reasons):
        if interpreter in tried or _version(interpreter) != VERSION:
            continue
        tried.add(interpreter)
        _say('creating .venv with ' + interpreter)
        code, _ = _run([interpreter, '-m', 'venv', '--clear', ENVIRONMENT])
        if code == 0 and _has_pip(PYTHON):
            return
    raise BootstrapError(
        'no Python {} that can create an environment was found, and uv could not fetch one{}: '
        '{}'.format(VERSION, ''.join(' (' + reason + ')' for reason in reasons), ADVICE)
    )


def _interpreters(reasons):
    """Yield candidate interpreters, the fastest to check first, downloaded ones last.

    If the download fails, its error message is appended to ``reasons``.
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
    """Return uv from the path, else install it into .uv; None if both fail."""
    if _run(['uv', '--version'])[0] == 0:
        return 'uv'
    local = os.path.join(UV_FOLDER, 'bin', 'uv')
    if _run([local, '--version'])[0]:
        _say('installing uv into .uv')
        pip = [sys.executable, '-m', 'pip', 'install', '-q', '--disable-pip-version-check']
        _run(pip + ['--upgrade', '--target', UV_FOLDER, 'uv'])
    return local if _run([local, '--version'])[0] == 0 else None


def _run(command):
    """Return a command's exit status and output; 127 if the command is missing."""
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
    """Return the version of an interpreter, such as '3.10'; None if it does not run."""
    code, output = _run([interpreter, '-c', 'import sys; print("%d.%d" % sys.version_info[:2])'])
    return output.strip() if code == 0 else None


def _has_pip(interpreter):
    """Return whether an interpreter is a Python 3.10 with pip."""
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
        raise BootstrapError(path + ': no such requirements file') from error


def _say(message):
    sys.stderr.write(message + '\n')
    sys.stderr.flush()


if __name__ == '__main__':
    try:
        main(sys.argv[1:])
    except BootstrapError as failure:
        sys.exit('error: ' + str(failure))
    except KeyboardInterrupt:
        _say('interrupted; run it again to continue')
        sys.exit(130)
