"""Explain glob patterns of users that match nothing."""

import glob
import os
import re
import shlex
from pathlib import Path


def explain_no_match(pattern: Path) -> str:
    """Return why a pattern matches nothing, with the remedy if brackets in it belong to a name.

    Args:
        pattern: A glob pattern, or the path of a file, without matches.
    """
    if not glob.has_magic(str(pattern)):
        return 'no such file or folder'
    escaped = str(_with_names_escaped(pattern))
    choice = re.search(r'\[[^]]*\]?', str(pattern))
    if choice is None or escaped == str(pattern):
        return 'no file matches'
    quoted = shlex.quote(escaped)
    if not glob.glob(escaped, recursive=True):
        return f'no file matches, nor {quoted}, where the brackets belong to the name'
    return (
        f'no file matches; {choice[0]} stands for one of the characters in it: for the name with '
        f'brackets write {quoted}'
    )


def _with_names_escaped(pattern: Path) -> Path:
    """Return the pattern with the brackets escaped that stand in names of existing files."""
    escaped = literal = Path(pattern.anchor)
    for part in pattern.parts[bool(pattern.anchor) :]:
        exists = os.path.lexists(literal / part)
        other = glob.escape(part) if exists else part.replace('[', '[[]')
        escaped = escaped / (other if exists or glob.glob(str(escaped / other)) else part)
        literal = literal / part
    return escaped
