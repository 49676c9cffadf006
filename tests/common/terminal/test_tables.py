"""Tables as aligned text and Markdown, compared with tables written by hand."""

from common.terminal.tables import Column, lines, markdown, markdown_rule

NUMBERED = [Column(), Column('count', right=True), Column('least', 9, right=True, before=' '),
            Column('note')]  # fmt: skip


def test_columns_fit_their_cells():
    assert lines(NUMBERED, [['a', '1', '2', 'x'], ['longer', '1234567', '3', '']]) == [
        '          count     least  note',
        'a             1         2  x',
        'longer  1234567         3  ',
    ]


def test_the_last_cell_of_a_short_row_spans_the_remaining_columns():
    assert lines(NUMBERED, [['a', 'is none of these'], ['b', '1', '2', 'x']]) == [
        '   count     least  note',
        'a  is none of these',
        'b      1         2  x',
    ]


def test_without_titles_there_is_no_header_row():
    columns = [Column(width=5, right=True), Column(before=' -> ')]
    assert lines(columns, [['1.00', 'one'], ['12.00', 'twelve']]) == [
        ' 1.00 -> one',
        '12.00 -> twelve',
    ]


def test_markdown_escapes_titles_as_it_does_cells():
    titles, rule, row = markdown([Column('a|b\nc')], [['d']])
    assert titles == r'| a\|b\nc |'
    assert len(titles) == len(rule) == len(row)


def test_markdown_is_aligned_as_plain_text():
    assert markdown([Column('class'), Column('%', right=True)], [['a|b', '1.5'], ['c', '10']]) == [
        '| class |   % |',
        '| ----- | --: |',
        '| a\\|b  | 1.5 |',
        '| c     |  10 |',
    ]
    assert markdown_rule([Column(), Column('x', 4, right=True)]) == '| --- | ---: |'
