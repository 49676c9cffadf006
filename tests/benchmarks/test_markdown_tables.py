"""Tables are formatted from documents, and replaced between their markers only."""

import json

import pytest

from benchmarks import harness, markdown_tables, suite
from common.errors import UserError

pytestmark = pytest.mark.bench

TEXT = """# Title
<!-- benchmark:one -->
old
<!-- end -->
between
<!-- benchmark:two -->
<!-- end -->
after
"""


def result(name, ratio, **details):
    return harness.TimingResult(name, 100 / ratio, 90 / ratio, 110 / ratio, ratio, details)


def test_only_what_is_between_the_markers_changes():
    text = markdown_tables.replace_blocks(TEXT, {'one': 'new\n', 'two': '| a |\n| --- |'})
    assert text == TEXT.replace('old', 'new').replace('two -->\n', 'two -->\n| a |\n| --- |\n')
    assert (
        markdown_tables.replace_blocks(text, {'one': 'old', 'two': ''}).replace('\n\n', '\n')
        == TEXT
    )


@pytest.mark.parametrize(
    'text, message',
    [
        ('nothing', 'occurs 0 times'),
        (TEXT + TEXT, 'occurs 2 times'),
        ('<!-- benchmark:one -->\n', 'has no <!-- end -->'),
        ('<!-- benchmark:one -->\n<!-- benchmark:two -->\n<!-- end -->\n', 'has no <!-- end -->'),
    ],
)
def test_bad_markers_are_refused_and_change_nothing(text, message, tmp_path):
    path = tmp_path / 'page.md'
    path.write_text(text)
    for attempt in (
        lambda: markdown_tables.require_blocks(path, ['one']),
        lambda: markdown_tables.update_blocks(path, {'one': ''}),
    ):
        with pytest.raises(UserError, match=f'page.md: <!-- benchmark:one --> {message}'):
            attempt()
    assert path.read_text() == text


def test_a_missing_file_is_reported(tmp_path):
    with pytest.raises(UserError, match='cannot be read'):
        markdown_tables.require_blocks(tmp_path / 'page.md', ['one'])


def test_a_table_of_inference_documents(tmp_path):
    details = {'FPS': 10, 'e2e ms': 120.4, 'MiB': 99.6, 'start s': 1.26, 'differs': 2e-6}
    details |= {'x plain': 12.5, 'x nnabla': 11, 'x pytorch': None, 'x float32': 1}
    details |= {'GMAC/s': 98.36, 'of limit': 0.874}
    documents = []
    for config, threads in (('D3Net_S', 2), ('D3Net_L', 2)):
        settings = {'config': config, 'size': '64x128', 'threads': threads}
        settings |= {'left out, nnabla int8': 'why', 'median ms': 'about'}
        settings |= {'int8': 'ranges from street.jpg'} if config == 'D3Net_S' else {}
        results = [
            result('nnabla float32', 1, **details, **{'again s': None}),
            result('auto float32', 12.5, **details, **{'again s': 0.84}),
        ]
        harness.write_json(tmp_path / 'report.json', results, settings)
        documents.append(json.loads((tmp_path / 'report.json').read_text()))
    lines = markdown_tables.markdown_table('inference', documents).splitlines()
    assert documents[0]['machine']['CPU'] in lines[0]
    assert lines[0].endswith('size 64x128; threads 2; int8 ranges from street.jpg.')
    table = [line for line in lines if line.startswith('|')]
    assert table[2].startswith('| **D3Net_S**, 64x128 |')
    assert table[4] == (
        '| auto float32 | 8 (7-9) | 10.00 | 12.50x | 11.00x |  | 1.00x | 98.4 | 87% | 120 '
        '| 100 | 1.3 | 0.8 | 2e-06 |'
    )
    assert table[3].endswith('| 1.3 |  | 2e-06 |')
    assert {line.count('|') for line in table} == {15}
    assert lines[-1] == 'Left out: nnabla int8: why.'


def test_a_table_of_training_has_seconds_per_step():
    document = {
        'machine': {'CPU': 'a CPU', 'GPU': 'none', 'packages': 'nnabla 1.39.0, numpy 1'},
        'settings': {'config': 'D3Net_T', 'batch': '2 images'},
        'results': [
            {
                'name': 'none',
                'median_ms': 1234.0,
                'fastest_ms': 1220.0,
                'slowest_ms': 1300.0,
                'ratio': 1.0,
                'details': {'MiB': 10.0, 'loss': 2.34567},
            },
        ],
    }
    text = markdown_tables.markdown_table('training', [document])
    assert text.startswith('a CPU; nnabla 1.39.0; config D3Net_T; batch 2 images.')
    assert text.endswith('| none | 1.23 (1.22-1.30) | 1.00x | 10 |  | 2.3457 |')


@pytest.mark.parametrize('name', suite.TABLE_NAMES)
def test_readmes_tables_have_all_columns_filled(name):
    text = suite.PAGE.read_text()
    block = text.split(markdown_tables.BEGIN.format(name))[1].split(markdown_tables.END)[0]
    assert '\n'.join(markdown_tables.table_header(name)) in block
    rows = [line.split('|')[1:-1] for line in block.splitlines() if line.startswith('|')][2:]
    assert all(any(cell.strip() for cell in column) for column in zip(*rows))
