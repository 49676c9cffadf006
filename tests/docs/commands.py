"""Split a block of sh into its commands, and tell plain ones from those that need a shell."""

import re
import shlex
from dataclasses import dataclass

from docs import blocks

SHELL = set('|&;<>()$`*?[]{}~!\\\n')


@dataclass
class Command:
    """A command of a block.

    Attributes:
        line: Its line in the page, from 1.
        text: Its text in one line, without comments.
        reason: Why it is not run; None if it is.
    """

    line: int
    text: str
    reason: str | None = None


def split(block: blocks.Block, page: str) -> list[Command]:
    """Return the commands of a block, each on a line or continued by backslashes.

    Raises:
        PageError: A mark lacks its reason, or a quote its end.
    """
    found: list[Command] = []
    pending = None  # reason on a line above the command
    lines = block.code.split('\n')
    index = 0
    while index < len(lines):
        line, text = block.line + 1 + index, lines[index]
        while text.endswith('\\') and index + 1 < len(lines):
            index += 1
            text = f'{text[:-1].rstrip()} {lines[index].strip()}'
        index += 1
        where = f'{page}, line {line}'
        text, comment = _without_comment(text, where)
        reason = blocks.reason_in(comment, where) if comment else None
        if text:
            found.append(Command(line, text, block.reason or reason or pending))
            pending = None
        elif reason and not block.reason:
            pending = reason
    return found


def _without_comment(text: str, where: str) -> tuple[str, str]:
    """Return a command and the comment at its end."""
    quote = ''
    for position, letter in enumerate(text):
        if quote:
            quote = '' if letter == quote else quote
        elif letter in '\'"':
            quote = letter
        elif letter == '#' and (not position or text[position - 1].isspace()):
            return text[:position].strip(), text[position:].strip()
    if quote:
        raise blocks.PageError(f'{where}: the quote {quote} has no end in this line')
    return text.strip(), ''


def python_arguments(text: str) -> list[str] | None:
    """Return the arguments of a plain ``python`` command, or None for one that needs a shell."""
    outside = re.sub(r"'[^']*'|=\[[\d.,]*\]", '', text)  # no file has the name of a key=[1,2]
    if set(re.sub(r'"[^"$`\\]*"', '', outside)) & SHELL:
        return None
    words = shlex.split(text)
    if len(words) < 2 or words[0] not in ('python', '.venv/bin/python'):
        return None
    if words[1] == '-m':
        return words[1:] if len(words) > 2 else None
    return words[1:] if words[1].endswith('.py') else None
