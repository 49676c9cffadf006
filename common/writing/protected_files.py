"""Refuse an output of a command that would overwrite one of its inputs or another output.

protected = ProtectedFiles()
protected.add('the weights', [weights])
protected.claim('--json', report)          # raises UserError if both are one file
"""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from common import own_modules
from common.errors import UserError
from common.files import check_writable

Name = str | os.PathLike[str]
Identity = tuple[int | str, int | str]  # device and inode, or real folder and name of a new file


@dataclass(frozen=True)
class _Inputs:
    """Inputs of a kind, examined only if they can matter."""

    what: str
    paths: Iterable[Name | None]
    below: str | None


class ProtectedFiles:
    """The inputs of a command and the outputs that it has claimed.

    Files are compared by device and inode, so links and other spellings of a path count as the
    file itself. Modules that ``--import`` named are inputs of every command.
    """

    def __init__(self) -> None:
        self._inputs: list[_Inputs] = []
        self._known: dict[Identity, str] = {}
        self._claimed: dict[Identity, str] = {}
        own = [name for name in own_modules.imported() if name.endswith('.py')]
        self.add(f'the module of {own_modules.OPTION}', own)

    def add(
        self, what: str, paths: Iterable[Name | None], below: Name | None = None
    ) -> 'ProtectedFiles':
        """Protect inputs; return this object.

        Args:
            what: What the files are, such as ``a label of the data set``, for the error message.
            paths: The files; None and missing files are skipped. They are examined only if an
                output exists already.
            below: Examine them only if that output is in this folder or has several names.
        """
        self._inputs.append(
            _Inputs(what, paths, None if below is None else os.path.realpath(below))
        )
        return self

    def claim(self, option: str, path: Name, remedy: str = 'name another file') -> None:
        """Claim a file as an output; a folder, a device and a pipe are ignored.

        Args:
            option: The option that names the output.
            path: The file, which may exist.
            remedy: End of the error message.

        Raises:
            UserError: The file is an input or was claimed already.
        """
        status = _status(path)
        if status is not None and not stat.S_ISREG(status.st_mode):
            return
        identity = _identity(path, status)
        what = self._claimed.get(identity)
        if what is None and status is not None:
            self._examine(path, status)
            what = self._known.get(identity)
        if what is not None:
            raise UserError(f'{option} {path}: is {what} and would be overwritten; {remedy}')
        self._claimed[identity] = f'a result of {option}'

    def claim_json(self, option: str, path: Name) -> None:
        """Claim a report in JSON; only such a report may be replaced.

        Raises:
            UserError: The file is an input, was claimed already, holds something else than JSON, or
                cannot be written.
        """
        self.claim_text(option, path, '{', 'a report in JSON')

    def claim_text(self, option: str, path: Name, beginning: str, what: str) -> None:
        """Claim a text file; only a text that begins in the same way may be replaced.

        Args:
            option: The option that names the output.
            path: The file, which may exist.
            beginning: Beginning of every such text, after white space.
            what: What such a text is, for the error message.

        Raises:
            UserError: The file is an input, was claimed already, holds something else, or cannot be
                written.
        """
        self.claim(option, path)
        check_writable(Path(path))
        if not _may_begin(path, beginning.encode()):
            raise UserError(
                f'{option} {path}: is not {what} and would be overwritten; name another file'
            )

    def _examine(self, path: Name, status: os.stat_result) -> None:
        """Look up the inputs that an existing output can be."""
        place, waiting = os.path.realpath(path), []
        for inputs in self._inputs:
            if inputs.below and not _is_below(place, inputs.below) and status.st_nlink == 1:
                waiting.append(inputs)
                continue
            for each in set(inputs.paths):
                found = None if each is None else _status(each)
                if each is not None and found is not None:
                    self._known.setdefault(_identity(each, found), inputs.what)
        self._inputs = waiting


def _status(path: Name) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (OSError, ValueError):  # missing, or not accessible: another check reports that
        return None


def _identity(path: Name, status: os.stat_result | None) -> Identity:
    if status is not None:
        return status.st_dev, status.st_ino
    folder, name = os.path.split(os.path.realpath(path))
    return folder, name


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(os.path.join(folder, ''))


def _may_begin(path: Name, beginning: bytes) -> bool:
    """Return whether a file is empty, missing, or begins with a text after white space."""
    status = _status(path)
    if status is None or not stat.S_ISREG(status.st_mode):
        return True
    try:
        with open(path, 'rb') as file:
            start = file.read(64 + len(beginning)).lstrip()
            return not start or start.startswith(beginning)
    except OSError:
        return False
