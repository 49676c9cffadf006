"""Format benchmark results as Markdown tables, and replace the tables of a Markdown file.

The markers <!-- benchmark:NAME --> and <!-- end -->, each on a separate line, enclose a table.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import replacing
from common.terminal.tables import Column, markdown_row, markdown_rule

BEGIN, END = '<!-- benchmark:{} -->', '<!-- end -->'
FACTS = (
    'size', 'batch', 'data set', 'images', 'crop', 'threads', 'weights', 'int8', 'PyTorch',
    'backends',
)  # fmt: skip


def _digits(number: int) -> Callable[[float], str]:
    return lambda value: f'{value:.{number}f}'


def _times(value: float) -> str:
    return f'{value:.2f}x'


def _spread(digits: int, unit_ms: float) -> Callable[[Mapping], str]:
    """Return a formatter of a result's times: the median, and the extremes in brackets."""

    def written(values: Mapping) -> str:
        keys = 'median_ms', 'fastest_ms', 'slowest_ms'
        median, *ends = (f'{values[key] / unit_ms:.{digits}f}' for key in keys)
        return f'{median} ({"-".join(ends)})'

    return written


# The columns of every kind of table: title, field or detail of a result, and formatter. If the
# field is None, the formatter receives the whole result.
COLUMNS = {
    'inference': (
        ('ms', None, _spread(0, 1)),
        ('FPS', 'FPS', _digits(2)),
        ('x plain', 'x plain', _times),
        ('x nnabla', 'x nnabla', _times),
        ('x pytorch', 'x pytorch', _times),
        ('x float32', 'x float32', _times),
        ('GMAC/s', 'GMAC/s', _digits(1)),
        ('of limit', 'of limit', lambda value: f'{value:.0%}'),
        ('end to end, ms', 'e2e ms', _digits(0)),
        ('MiB', 'MiB', _digits(0)),
        ('start, s', 'start s', _digits(1)),
        ('again, s', 'again s', _digits(1)),
        ('differs', 'differs', lambda value: f'{value:.0e}' if value else '0'),
    ),
    'loader': (
        ('images/s', 'images/s', _digits(1)),
        ('speed', 'ratio', _times),
        ('MiB', 'MiB', _digits(0)),
    ),
    'training': (
        ('s a step', None, _spread(2, 1000)),
        ('speed', 'ratio', _times),
        ('MiB', 'MiB', _digits(0)),
        ('of first', 'of first', _digits(2)),
        ('loss', 'loss', _digits(4)),
    ),
    'accuracy': (
        ('mIoU, %', 'miou', _digits(2)),
        ('difference', 'difference', lambda value: f'{value:+.2f}'),
        ('pixel accuracy, %', 'pixel_accuracy', _digits(2)),
    ),
}


def replace_blocks(text: str, blocks: Mapping[str, str]) -> str:
    """Return ``text`` with new content between the markers; the rest is unchanged.

    Args:
        text: Content of a Markdown file.
        blocks: New content by the name in the marker.

    Raises:
        UserError: A marker is missing, duplicate or without an end.
    """
    for name, content in blocks.items():
        begin = BEGIN.format(name)
        count = text.count(f'{begin}\n')
        if count != 1:
            raise UserError(f'{begin} occurs {count} times; it must occur once')
        before, after = text.split(f'{begin}\n')
        inside, end, rest = after.partition(f'{END}\n')
        if not end or '<!-- benchmark:' in inside:
            raise UserError(f'{begin} has no {END}')
        text = f'{before}{begin}\n{content.strip()}\n{END}\n{rest}'
    return text


def require_blocks(path: Path, names: Sequence[str]):
    """Raise ``UserError`` if a file lacks a block, so that a run fails before its benchmarks."""
    _read_and_replace(path, dict.fromkeys(names, ''))


def update_blocks(path: Path, blocks: Mapping[str, str]):
    """Read a file and replace some of its blocks; raise ``UserError`` when it lacks one."""
    text = _read_and_replace(path, blocks)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding='utf-8')


def _read_and_replace(path: Path, blocks: Mapping[str, str]) -> str:
    try:
        return replace_blocks(path.read_text(encoding='utf-8'), blocks)
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror})') from error
    except UserError as error:
        raise UserError(f'{path}: {error}') from error


def markdown_table(kind: str, documents: Sequence[Mapping]) -> str:
    """Format the --json documents of one kind as a line about the machine and one table."""
    machine = documents[0]['machine']
    where = machine['CPU'] if machine['GPU'] == 'none' else f'{machine["CPU"]}; {machine["GPU"]}'
    packages = [name for name in machine['packages'].split(', ') if name.startswith('nnabla')]
    facts = _common_facts(documents)
    columns = COLUMNS[kind]
    lines = [f'{where}; {", ".join(packages)}; {"; ".join(facts)}.', '', *table_header(kind)]
    for document in documents:
        several = len(documents) > 1
        if several:
            title = f'**{document["settings"]["config"]}**, {document["settings"]["size"]}'
            lines.append(f'| {title} |' + ' |' * len(columns))
        for result in document['results']:
            values = {**result, **result['details']}
            cells = [
                _cell(values.get(key) if key else values, written) for _, key, written in columns
            ]
            lines.append(markdown_row([result['name'], *cells]))
    left_out = {
        f'{key.removeprefix("left out, ")}: {value}'
        for document in documents
        for key, value in document['settings'].items()
        if key.startswith('left out, ')
    }
    if left_out:
        lines += ['', f'Left out: {"; ".join(sorted(left_out))}.']
    return '\n'.join(lines)


def table_header(kind: str) -> list[str]:
    """Return the first two lines of a table."""
    columns = [Column(title, width=4, right=True) for title, *_ in COLUMNS[kind]]
    titles = ['contestant', *(column.title for column in columns)]
    return [markdown_row(titles), markdown_rule([Column(), *columns])]


def _common_facts(documents) -> list[str]:
    """Return the facts of a table's first line: settings that are equal in all documents."""
    settings = [document['settings'] for document in documents]
    found = []
    for key in ('config', *FACTS):
        values = {each[key] for each in settings if key in each}
        if len(values) == 1:
            found.append(f'{key} {values.pop()}')
    return found


def _cell(value: Any, written: Callable[[Any], str]) -> str:
    return '' if value is None else written(value)
