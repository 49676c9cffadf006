"""Every count in docs/complexity.md is that of the graphs."""

import re
from collections import Counter
from functools import cache

import nnabla.functions as F
import pytest

import models
from layers import functions as L
from layers import graph
from models import complexity
from support import programs

PAGE = (programs.PROJECT / 'docs' / 'complexity.md').read_text()
NETWORK = 'network (`*_edgeailite`)'  # the column of networks without the suffix of their names
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
    """Return the GigaMACs of the convolutions."""
    return _convolutions(row[NETWORK], row['classes'], row['size'])


@cache
def _convolutions(network, classes, size):
    row = {NETWORK: network, 'classes': classes, 'size': size}
    return complexity.count_macs_and_parameters(network_of(row), size_of(row))[0] / 1e9


def counted_by_tidl(row, export):
    """Return the GigaMACs by the page's rules only: a function without a rule is a KeyError."""
    shapes = complexity.shape_graph(network_of(row), size_of(row))
    logits = shapes.outputs[0]
    if export['argmax at the size of'] == 'the image':
        logits = L.resize(logits, size_of(row))
    classes = F.max(logits, axis=1, only_index=True)
    total = shapes.image.size if export['normalisation of the image'] == 'counted' else 0
    for function in graph.depending_on(shapes.image, graph.functions(classes)):
        rule = RULES[function.info.type_name]
        if rule['multiply-accumulates'] == 'as above':
            total += graph.multiply_accumulates(function)
        elif export.get(rule['layer'], 'counted') == 'counted':
            total += int(rule['multiply-accumulates'].split()[0]) * function.outputs[0].size
    return total / 1e9


def note(number):
    """Return the text of a note in one line."""
    return ' '.join(re.search(rf'^{number}\. .*(?:\n   .*)*', PAGE, re.MULTILINE)[0].split())


def test_the_tables_are_complete():
    assert [len(rows) for rows in (USUAL, PUBLISHED, LOGS, RECOUNTS)] == [32, 22, 6, 9]
    notes = Counter(row['note'] for row in PUBLISHED)
    assert notes == {'': 14, '1': 4, '2': 2, '3': 1, '4': 1}
    assert 'segmentation: 14 agree, 6 are explained' in ' '.join(PAGE.split())
    assert all(note(number) for number in (1, 2, 3, 4))


# Of each family, encoder and decoder, except the networks that take longest to measure.
ONE_OF_EACH_KIND = (
    'd3net_t',
    'ddrnet23_slim',
    'dabnet_r18_p2',
    'dabnet_e',
    'csail_resnet18dilated8_ppm_deepsup',
    'csail_resnet50_upernet_lite',
    'deeplabv3plus_mobilenetv2_tv_edgeailite',
    'unet_aspp_mobilenetv2_tv_edgeailite',
    'fpn_aspp_regnetx400mf_edgeailite',
)


@each([row for row in USUAL if row['network'] in ONE_OF_EACH_KIND])
def test_networks_at_their_usual_sizes(row):
    check_usual(row)


@pytest.mark.whole_registry
@each(USUAL)
def test_every_network_at_its_usual_size(row):
    check_usual(row)


def check_usual(row):
    measured = complexity.measure_network(models.create(row['network']), size_of(row))
    height, width = measured.receptive_field
    assert row == {
        'network': measured.name,
        'parameters': f'{measured.parameters:,}',
        'size': row['size'],
        'GMACs': f'{measured.gmacs:.2f}',
        'activations, MiB': f'{measured.activation_bytes / 2**20:.0f}',
        'peak, MiB': f'{measured.peak_bytes / 2**20:.0f}',
        'receptive field': f'{height}x{width}{"+" if measured.sees_all else ""}',
    }


@each(PUBLISHED)
def test_published_numbers(row):
    """A number has a note if and only if it differs."""
    here = convolutions(row)
    difference = here - float(row['TI'])
    assert (row['here'], row['difference']) == (f'{here:.3f}', f'{difference:+.3f}')
    assert (abs(difference) > AGREES) == bool(row['note'])


@each(LOGS)
def test_logs_of_trainings_agree_to_the_last_digit(row):
    assert str(convolutions(row)) == row['in the log, and here']


@each(RECOUNTS)
def test_the_rules_of_the_import_tool_give_what_ti_published(row):
    counted = counted_by_tidl(row, EXPORTS[row['export']])
    assert f'{counted:.5f}' == row['recount']
    decimals = len(row['TI'].partition('.')[2])
    assert f'{counted:.{decimals}f}' == row['TI']


def test_explained_numbers_are_recounted():
    """Notes 1 and 2 use the exports A and B; TI's logs are of the same trainings."""
    explained = [row for row in PUBLISHED if row['note'] in ('1', '2')]
    for row, log, recount in zip(explained, LOGS, RECOUNTS[:6], strict=True):
        assert recount["TI's table"] == row['data set']
        assert recount['export'] == {'1': 'A', '2': 'B'}[row['note']]
        assert all(row[name] == recount[name] for name in (NETWORK, 'classes', 'size', 'TI'))
        assert all(row[name] == log[name] for name in (NETWORK, 'classes', 'size'))


def test_the_notes_on_the_two_unexplained_numbers():
    """24.29 is less than the convolutions; 3.84 is no quarter of 15.07 and no export's count."""
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
