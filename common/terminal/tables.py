"""Format tables as aligned text for terminals and as Markdown for documents.

Names in them can come from files, so control characters are shown as escapes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from common.terminal.printable import one_line

SHORTEST_RULE = 3  # dashes in the separator row of a Markdown table


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: Cell in the header row.
        width: Minimum width in characters.
        right: Align the cells to the right, as for numbers.
        before: Separator to the previous column.
    """

    title: str = ''
    width: int = 0
    right: bool = False
    before: str = '  '


def fitted(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> list[Column]:
    """Return the columns widened to fit their titles and the cells of ``rows``.

    If a row has fewer cells than there are columns, its last cell spans the remaining ones.
    """
    widths = [max(column.width, len(column.title)) for column in columns]
    for row in rows:
        own = row if len(row) == len(columns) else row[:-1]
        widths[: len(own)] = map(max, widths, map(len, map(one_line, own)))
    return [replace(column, width=width) for column, width in zip(columns, widths)]


def line(columns: Sequence[Column], cells: Sequence[str]) -> str:
    """Return one row of aligned text, without trailing spaces."""
    text = ''
    for number, (column, cell) in enumerate(zip(columns, map(one_line, cells)), start=1):
        reaches_over = number == len(cells) and (number < len(columns) or not column.right)
        padded = cell.rjust(column.width) if column.right else cell.ljust(column.width)
        text += (column.before if number > 1 else '') + (cell if reaches_over else padded)
    return text


def lines(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table as aligned text: a header row if any column has a title, then the rows."""
    columns, titles = fitted(columns, rows), [column.title for column in columns]
    return [line(columns, row) for row in ([titles] if any(titles) else []) + list(rows)]


def markdown_row(cells: Iterable[str]) -> str:
    """Return one row of a Markdown table."""
    return f'| {" | ".join(cells)} |'


def markdown_rule(columns: Sequence[Column]) -> str:
    """Return the separator row of a Markdown table, which sets the alignment."""
    widths = [max(SHORTEST_RULE, column.width) for column in columns]
    return markdown_row(
        '-' * (width - 1) + (':' if column.right else '-') for column, width in zip(columns, widths)
    )


def markdown(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a Markdown table whose columns are also aligned as plain text."""
    escaped = [list(map(_markdown_cell, row)) for row in rows]
    columns = [
        replace(c, title=_markdown_cell(c.title), width=max(c.width, SHORTEST_RULE))
        for c in columns
    ]
    columns = fitted(columns, escaped)
    titles, *others = (
        markdown_row(
            cell.rjust(column.width) if column.right else cell.ljust(column.width)
            for column, cell in zip(columns, row)
        )
        for row in [[column.title for column in columns], *escaped]
    )
    return [titles, markdown_rule(columns), *others]


def _markdown_cell(text: str) -> str:
    return one_line(text).replace('|', '\\|')
