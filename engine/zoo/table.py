"""Format the project's configs as text for terminals and as a Markdown table."""

import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from common.terminal import tables
from common.terminal.printable import one_line
from common.terminal.tables import Column
from engine.config.published_score import PublishedScore
from engine.zoo.entries import ZooEntry
from engine.zoo.weights_status import HERE, NONE, WeightsStatus

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
# Without the data set, with which the name of a config ends: pages are narrow.
MARKDOWN_COLUMNS = (FACTS[0], *FACTS[2:], Column('weights'))
DOWNLOADED = '# not run here: downloads the published files'
FETCHED = '# not run here: the files have to be fetched from their page with a browser'


def as_text(entries: Sequence[ZooEntry]) -> list[str]:
    """Return a row for each config, with what is wider than a column on lines below it."""
    rows = [[*_facts(entry), entry.weights.state] for entry in entries]
    header, *facts = tables.lines(TEXT_COLUMNS, rows)
    lines = [header]
    for entry, row in zip(entries, facts):
        lines += ['', row, *_details(entry)]
    return lines


def as_markdown(entries: Sequence[ZooEntry]) -> list[str]:
    """Return a Markdown table, the sources of its scores, and the commands that get the weights.

    They are the same on every machine: they leave out what is here.
    """
    sources = list(dict.fromkeys(source for e in entries if (source := _score_source(e))))
    rows = [_markdown_row(entry, sources) for entry in entries]
    lines = tables.markdown(MARKDOWN_COLUMNS, rows)
    named = [f'{number}. {source}' for number, source in enumerate(sources, start=1)]
    if len(sources) == 1:
        named = [f'The scores are those of {sources[0]}.']
    for block in (named, *(_command_block(entries, downloads) for downloads in (True, False))):
        lines += ['', *block] if block else []
    return lines


def _markdown_row(entry: ZooEntry, sources: Sequence[str]) -> list[str]:
    """Return the cells of a row; of several sources, the score has the number of its own."""
    config, _, *others, score = _facts(entry)
    source = _score_source(entry)
    if source and len(sources) > 1:
        score += f' ({sources.index(source) + 1})'
    return [f'`{config}`', *others, score, _markdown_weights(entry.weights)]


def _markdown_weights(status: WeightsStatus) -> str:
    """Return where published weights are, as a link."""
    if status.address is None:
        return 'in the project' if status.command is None else 'not published'
    if status.state == NONE:
        return f'[of another format]({status.address})'
    return f'[{"download" if status.downloads else "page"}]({status.address})'


def _command_block(entries: Iterable[ZooEntry], downloads: bool) -> list[str]:
    """Return the commands that get published weights, as a block of Markdown."""
    wanted = [
        entry.weights.command
        for entry in entries
        if entry.weights.address
        and entry.weights.command
        and entry.weights.state != NONE
        and entry.weights.downloads == downloads
    ]
    shown = [line for command in wanted for line in _command_lines(command)]
    return ['```sh', DOWNLOADED if downloads else FETCHED, *shown, '```'] if wanted else []


def _facts(entry: ZooEntry) -> list[str]:
    """Return the cells of :data:`FACTS`."""
    return [
        entry.config,
        entry.data_set,
        _size_text(entry),
        f'{entry.parameters:,}',
        f'{entry.gmacs:.2f}',
        '' if entry.score is None else f'{entry.score.miou:.2f}',
    ]


def _score_source(entry: ZooEntry) -> str | None:
    """Return who published the score, on which split, and at which sizes, if not the row's."""
    score = entry.score
    if score is None:
        return None
    others = score.views if score.views != _size_text(entry) else None
    measured = ', '.join(filter(None, (score.split, others)))
    return f'{score.source} ({measured})' if measured else score.source


def _size_text(entry: ZooEntry) -> str:
    return 'x'.join(map(str, entry.size))


def _measured(score: PublishedScore | None) -> str:
    """Return who published a score, and how it was measured."""
    if score is None:
        return 'no score is published'
    measured = ', '.join(filter(None, (score.split, score.views)))
    return f'{score.source} ({measured})' if measured else score.source


def _details(entry: ZooEntry) -> list[str]:
    """Return the lines below a row: network, sources and command."""
    status = entry.weights
    lines = _wrapped('network', entry.network)
    lines += _wrapped('mIoU', _measured(entry.score))
    lines += _wrapped('weights', status.source)
    if status.file and (file := _short_path(status.file)) != status.source:
        lines += _wrapped(status.state, file)
    if status.command and status.state != HERE:
        lines += _command_lines(status.command, 'command')
    return lines


def _short_path(path: Path) -> str:
    """Return a path relative to the working directory if it is below it."""
    path, here = path.absolute(), Path.cwd()
    return one_line(path.relative_to(here) if path.is_relative_to(here) else path)


def _command_lines(command: str, title: str | None = None) -> list[str]:
    """Return a command in lines that a shell takes as one; options keep their values."""
    end, tied = ' \\', '\xa0'  # a space that textwrap does not break
    text = re.sub(r' (?!-)', tied, command)
    *lines, last = _wrapped(title, text, MAX_WIDTH - len(end))
    return [line.replace(tied, ' ') for line in (*(f'{line}{end}' for line in lines), last)]


def _wrapped(title: str | None, text: str, width: int = MAX_WIDTH) -> list[str]:
    """Return a text in lines of ``width`` characters; words are never broken.

    With a title, it stands below a row of the table, indented.
    """
    return textwrap.wrap(
        text,
        width,
        initial_indent=f'{INDENT}{title}: ' if title else '',
        subsequent_indent=INDENT * 2 if title else INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
