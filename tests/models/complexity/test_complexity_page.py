"""docs/complexity.md: every count that it prints, computed again from the graphs."""

import re
from collections import Counter

import nnabla.functions as F
import pytest

import models
from layers import functions as L
from layers import graph
from models import complexity
from support import programs

PAGE = (programs.PROJECT / 'docs' / 'complexity.md').read_text()
NETWORK = 'network (`*_edgeailite`)'  # the column of networks without the end of their names
AGREES = 0.01  # GigaMACs


def tables():
    """Return all tables of the page by the name of their first column, rows as dicts by column."""
    found = {}
    for block in re.findall(r'(?:^\|.*\n)+', PAGE, re.MULTILINE):
        head, _, *rows = ([c.strip() for c in line[1:-1].split('|')] for line in block.splitlines())
        assert head[0] not in found
        found[head[0]] = [dict(zip(head, row)) for row in rows]
        assert all(len(row) == len(head) for row in rows)
    return found


TABLES = tables()
USUAL, PUBLISHED, LOGS = TABLES['network'], TABLES['data set'], TABLES[NETWORK]
RULES = {kind: row for row in TABLES['layer'] for kind in re.findall(r'`(\w+)`', row['functions'])}
EXPORTS = {row['export']: row for row in TABLES['export']}
RECOUNTS = TABLES["TI's table"]


def each(rows):
    ids = [' '.join(list(row.values())[:4]) for row in rows]
    return pytest.mark.parametrize('row', rows, ids=ids)


def size_of(row):
    return tuple(map(int, row['size'].split('x')))


def network_of(row):
    return models.create(f'{row[NETWORK]}_edgeailite', num_classes=int(row['classes']))


def convolutions(row):
    """GigaMACs of the convolutions."""
    return complexity.count_macs_and_parameters(network_of(row), size_of(row))[0] / 1e9


def counted_by_tidl(row, export):
    """GigaMACs by the page's rules, and by no others: a function without a rule is a KeyError."""
    outlined = complexity.shape_graph(network_of(row), size_of(row))
    logits = outlined.outputs[0]
    if export['argmax at the size of'] == 'the image':
        logits = L.resize(logits, size_of(row))
    classes = F.max(logits, axis=1, only_index=True)
    total = outlined.image.size if export['normalisation of the image'] == 'counted' else 0
    for function in graph.depending_on(outlined.image, graph.functions(classes)):
        rule = RULES[function.info.type_name]
        if rule['multiply-accumulates'] == 'as above':
            total += graph.multiply_accumulates(function)
        elif export.get(rule['layer'], 'counted') == 'counted':
            total += int(rule['multiply-accumulates'].split()[0]) * function.outputs[0].size
    return total / 1e9


def note(number):
    """The text of a note in one line."""
    return ' '.join(re.search(rf'^{number}\. .*(?:\n   .*)*', PAGE, re.MULTILINE)[0].split())


def test_nothing_is_missing():
    assert [len(rows) for rows in (USUAL, PUBLISHED, LOGS, RECOUNTS)] == [32, 22, 6, 9]
    notes = Counter(row['note'] for row in PUBLISHED)
    assert notes == {'': 14, '1': 4, '2': 2, '3': 1, '4': 1}
    assert 'published for EdgeAI-Lite: 14 agree, 6 are explained' in ' '.join(PAGE.split())
    assert all(note(number) for number in (1, 2, 3, 4))


@each(USUAL)
def test_the_networks_at_their_usual_sizes(row):
    measured = complexity.measure_network(models.create(row['network']), size_of(row))
    height, width = measured.receptive_field
    assert row == {
        'network': measured.name,
        'parameters': f'{measured.parameters:,}',
        'size': row['size'],
        'GMACs': f'{measured.gmacs:.2f}',
        'activations, MiB': f'{measured.activation_bytes / 2**20:.0f}',
        'at once, MiB': f'{measured.peak_bytes / 2**20:.0f}',
        'receptive field': f'{height}x{width}{"+" if measured.sees_all else ""}',
    }


@each(PUBLISHED)
def test_published_numbers(row):
    """Each that differs has a note, and no other has one."""
    here = convolutions(row)
    difference = here - float(row['TI'])
    assert (row['here'], row['difference']) == (f'{here:.3f}', f'{difference:+.3f}')
    assert (abs(difference) > AGREES) == bool(row['note'])


@each(LOGS)
def test_logs_of_trainings_have_the_convolutions(row):
    """TI's logs count multiply-accumulates to the last one."""
    assert str(convolutions(row)) == row['in the log, and here']


@each(RECOUNTS)
def test_the_import_tool_counts_what_ti_published(row):
    counted = counted_by_tidl(row, EXPORTS[row['export']])
    assert f'{counted:.5f}' == row['recount']
    decimals = len(row['TI'].partition('.')[2])
    assert f'{counted:.{decimals}f}' == row['TI']


def test_the_notes_explain_what_is_counted_again():
    """Notes 1 and 2, by the exports A and B; TI's logs have the same trainings."""
    explained = [row for row in PUBLISHED if row['note'] in ('1', '2')]
    for row, log, recount in zip(explained, LOGS, RECOUNTS[:6], strict=True):
        assert recount["TI's table"] == row['data set']
        assert recount['export'] == {'1': 'A', '2': 'B'}[row['note']]
        assert all(row[name] == recount[name] for name in (NETWORK, 'classes', 'size', 'TI'))
        assert all(row[name] == log[name] for name in (NETWORK, 'classes', 'size'))


def test_what_the_notes_say_of_the_two_unexplained():
    """24.29 is less than the convolutions; 3.84 has a quarter of the pixels of 15.07, and no export
    leads to it.
    """
    of_24, of_384 = (next(row for row in PUBLISHED if row['note'] == number) for number in '34')
    assert float(of_24['TI']) < convolutions(of_24)
    assert '26.49' in note(3) and '26.49' in [row['TI'] for row in RECOUNTS]
    here = convolutions(of_384)
    assert convolutions({**of_384, 'size': '768x1536'}) == pytest.approx(4 * here, rel=1e-12)
    assert f'{4 * here:.2f}' == '15.07' and f'four times {here:.3f}' in note(4)
    a, b, c = (counted_by_tidl(of_384, EXPORTS[name]) for name in 'ABC')
    assert f'{a:.3f} for export A, {b:.3f} for B and {c:.3f} for C' in note(4)
    assert min(abs(counted - 3.84) for counted in (a, b, c)) > AGREES
    with_34 = convolutions({**of_384, 'classes': '34'})
    assert f'With 34 classes the convolutions would cost {with_34:.3f}' in note(4)
