"""Keep to the folder of a data set: folders that users name in it, and files to be written.

Data of others can contain links and folders that lead elsewhere, where nothing is to be written.
"""

import os
from pathlib import Path

from common.errors import UserError
from datasets.info import DataError


def folder_in(root: Path, option: str, named: str | None) -> str | None:
    """Return the folder that an option names, relative to the root; None if it names none.

    Args:
        root: The folder of the data set.
        option: The option, for messages.
        named: Its value: a path relative to the root, or an absolute one.

    Raises:
        UserError: The folder is outside of the root.
    """
    if named is None:
        return None
    top = Path(os.path.abspath(root))
    path = Path(os.path.abspath(top / named))
    if not path.is_relative_to(top):
        raise UserError(f'{option} {named}: is not in {root}; name a folder as seen from there')
    return path.relative_to(top).as_posix()


def existing_folder_in(root: Path, option: str, named: str | None) -> str | None:
    """Return the folder as :func:`folder_in` does; raise ``UserError`` if there is none."""
    found = folder_in(root, option, named)
    if found is not None and not (root / found).is_dir():
        raise DataError(f'{option} {named}: no such folder in {root}; name one as seen from there')
    return found


def refuse_outside(root: Path, target: Path) -> None:
    """Raise ``UserError`` if a file or folder to be written is outside of the root, as by links."""
    real = os.path.realpath(target)
    if not Path(real).is_relative_to(os.path.realpath(root)):
        raise UserError(
            f'{target}: is {real}, outside of {root}, where nothing is written; remove the link, '
            'or name a folder in it with --labels'
        )
