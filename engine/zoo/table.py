"""Format the project's configs as text for terminals and as a Markdown table."""

import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from common.terminal import tables
from common.terminal.printable import one_line
from common.terminal.tables import Column
from engine.zoo.entries import ZooEntry
from engine.zoo.weights_status import HERE

MAX_WIDTH = 120  # characters of a line of text, unless one word is longer
INDENT = ' ' * 4
FACTS = (
    Column('config'),
    Column('data set'),
    Column('size'),
    Column('parameters', right=True),
    Column('GMACs', right=True),
    Column('mIoU, %', right=True),
)
TEXT_COLUMNS = (*FACTS, Column('weights'))
MARKDOWN_COLUMNS = (
    FACTS[0],
    Column('network'),
    *FACTS[1:],
    *map(Column, ('published by', 'weights', 'command')),
)


def as_text(entries: Sequence[ZooEntry]) -> list[str]:
    """Return a row for each config, with what is wider than a column on lines below it."""
    rows = [[*_facts(entry), entry.weights.state] for entry in entries]
    header, *facts = tables.lines(TEXT_COLUMNS, rows)
    lines = [header]
    for entry, row in zip(entries, facts):
        lines += ['', row, *_details(entry)]
    return lines


def as_markdown(entries: Iterable[ZooEntry]) -> list[str]:
    """Return a Markdown table, which is the same on every machine: it leaves out what is here."""
    rows = []
    for entry in entries:
        config, *facts = _facts(entry)
        command = entry.weights.command
        rows.append(
            [
                f'`{config}`', f'`{entry.network}`', *facts, _score_source(entry),
                entry.weights.source, f'`{command}`' if command else '',
            ]
        )  # fmt: skip
    return tables.markdown(MARKDOWN_COLUMNS, rows)


def _facts(entry: ZooEntry) -> list[str]:
    """Return the cells of :data:`FACTS`."""
    return [
        entry.config,
        entry.data_set,
        'x'.join(map(str, entry.size)),
        f'{entry.parameters:,}',
        f'{entry.gmacs:.2f}',
        '' if entry.score is None else f'{entry.score.miou:.2f}',
    ]


def _score_source(entry: ZooEntry) -> str:
    """Return who published the score, and how it was measured."""
    score = entry.score
    if score is None:
        return 'no score is published'
    measured = ', '.join(filter(None, (score.split, score.views)))
    return f'{score.source} ({measured})' if measured else score.source


def _details(entry: ZooEntry) -> list[str]:
    """Return the lines below a row: network, sources and command."""
    status = entry.weights
    lines = _wrapped('network', entry.network)
    lines += _wrapped('mIoU', _score_source(entry))
    lines += _wrapped('weights', status.source)
    if status.file and (file := _short_path(status.file)) != status.source:
        lines += _wrapped(status.state, file)
    if status.command and status.state != HERE:
        lines += _wrapped_command(status.command)
    return lines


def _short_path(path: Path) -> str:
    """Return a path relative to the working directory if it is below it."""
    path, here = path.absolute(), Path.cwd()
    return one_line(path.relative_to(here) if path.is_relative_to(here) else path)


def _wrapped_command(command: str) -> list[str]:
    """Return a command in lines that a shell takes as one; options keep their values."""
    end, tied = ' \\', '\xa0'  # a space that textwrap does not break
    *lines, last = _wrapped('command', re.sub(r' (?!-)', tied, command), MAX_WIDTH - len(end))
    return [line.replace(tied, ' ') for line in (*(f'{line}{end}' for line in lines), last)]


def _wrapped(title: str, text: str, width: int = MAX_WIDTH) -> list[str]:
    """Return a titled text in lines of ``width`` characters; words are never broken."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=f'{INDENT}{title}: ',
        subsequent_indent=INDENT * 2,
        break_long_words=False,
        break_on_hyphens=False,
    )
