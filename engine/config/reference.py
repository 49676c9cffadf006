"""Write the reference of all config keys, as text for terminals and as Markdown for documents."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import MISSING

import models
from common.sections import Key, keys_of
from common.terminal.tables import Column, markdown_row, markdown_rule
from engine.config.published_score import BLOCK_KEY, PublishedScore
from engine.config.schema import CHOICES, SECTIONS, choices_of, sections_at

COLUMNS = (*map(Column, ('key', 'type and range', 'default', 'meaning')),)
_TAG = re.compile(r'<(?=[\w/!?])')  # Markdown takes what follows for HTML
_CODE = re.compile(r'(`[^`]*`)')


def as_text() -> str:
    """Return a text that lists every key with its type, range, default and meaning.

    The text has a paragraph for each title in ``SECTIONS``, each alternative in ``CHOICES``,
    each family of networks and the block with the published score. The paragraph of an alternative
    has only the keys that the alternative adds or defines differently, such as with another
    default.
    """
    return '\n'.join(f'{title}\n' + ''.join(map(_entry, keys)) for title, keys in paragraphs())


def as_markdown() -> str:
    """Return the same as Markdown: a heading of the third level and a table for each paragraph."""
    parts = []
    for title, keys in paragraphs():
        heading, _, note = title.partition(': a ')  # of the block
        rows = [markdown_row(column.title for column in COLUMNS), markdown_rule(COLUMNS)]
        rows += [markdown_row(_cells(key)) for key in keys]
        parts.append(
            '\n'.join([f'### {heading}', '', *([f'A {note}.', ''] if note else []), *rows, ''])
        )
    return '\n'.join(parts)


def paragraphs() -> Iterator[tuple[str, Iterable[Key]]]:
    """Yield the titles of the reference, each with its keys."""
    listed: dict[str, Key] = {}
    for title, home in SECTIONS.items():
        shared = {name: key for each in sections_at(home) for name, key in keys_of(each).items()}
        yield title, shared.values()
        listed |= shared
        for chooser in shared.keys() & CHOICES.keys():
            for name, section in choices_of(chooser).items():
                own = [k for k in keys_of(section).values() if shared.get(k.name) != k]
                if own:
                    yield f'{title}: {name}', own
    for family in models.FAMILIES:
        keys = keys_of(family.keys).values()
        yield f'Hyper-parameters: {family.name}', [k for k in keys if listed.get(k.name) != k]
    title = (
        f'Block {BLOCK_KEY}: a fact without effect, which files that name this one do not inherit'
    )
    yield title, keys_of(PublishedScore).values()


def _entry(key: Key) -> str:
    """Return a key's lines in the text."""
    return f'  {key.name}: {_type(key)}; default: {key.default_words()}\n      {key.meaning}\n'


def _type(key: Key) -> str:
    return f'{key.type_text()}, {key.range_text()}' if key.range_text() else key.type_text()


def _cells(key: Key) -> list[str]:
    """Return a key's cells in the table."""
    value = key.default is not MISSING and key.default is not None and key.default != ()
    default = f'`{key.default_words()}`' if value else key.default_words()
    return [f'`{key.name}`', *map(_escaped, (_type(key), default, key.meaning))]


def _escaped(text: str) -> str:
    """Return a text in which Markdown sees no HTML, no emphasis and no border of a cell."""
    parts = _CODE.split(text.replace('|', r'\|'))
    parts[::2] = [_TAG.sub('&lt;', part).replace('*', r'\*') for part in parts[::2]]
    return ''.join(parts)
