"""The tables of README.md: what is replaced, and what is written."""

import json

import pytest

from benchmarks import harness, readme_tables, suite
from benchmarks.__main__ import build_parser as benchmark_parser
from common import PROJECT
from common.errors import UserError
from engine.backends.errors import BackendError
from support import programs

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
    text = readme_tables.replace_blocks(TEXT, {'one': 'new\n', 'two': '| a |\n| --- |'})
    assert text == TEXT.replace('old', 'new').replace('two -->\n', 'two -->\n| a |\n| --- |\n')
    assert (
        readme_tables.replace_blocks(text, {'one': 'old', 'two': ''}).replace('\n\n', '\n') == TEXT
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
def test_bad_markers(text, message, tmp_path):
    path = tmp_path / 'page.md'
    path.write_text(text)
    for attempt in (
        lambda: readme_tables.require_blocks(path, ['one']),
        lambda: readme_tables.update_blocks(path, {'one': ''}),
    ):
        with pytest.raises(UserError, match=f'page.md: <!-- benchmark:one --> {message}'):
            attempt()
    assert path.read_text() == text


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match='cannot be read'):
        readme_tables.require_blocks(tmp_path / 'page.md', ['one'])


def test_a_table_of_what_was_written_as_json(tmp_path):
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
    lines = readme_tables.markdown_table('inference', documents).splitlines()
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


def test_seconds_of_a_step():
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
    text = readme_tables.markdown_table('training', [document])
    assert text.startswith('a CPU; nnabla 1.39.0; config D3Net_T; batch 2 images.')
    assert text.endswith('| none | 1.23 (1.22-1.30) | 1.00x | 10 |  | 2.3457 |')


def test_the_suite_writes_into_the_markers(tmp_path, monkeypatch):
    """What is skipped keeps its table, and the rest of the file is what it was."""
    page = tmp_path / 'page.md'
    page.write_text(
        ''.join(f'<!-- benchmark:{name} -->\nold\n<!-- end -->\n' for name in suite.TABLE_NAMES)
    )
    asked = []

    def written(script, options, folder):
        asked.append([str(option) for option in options])
        harness.write_json(folder / 'r', [result('a', 1, MiB=1.0)], {'config': 'C', 'size': '1x1'})
        return json.loads((folder / 'r').read_text())

    monkeypatch.setattr(suite, '_run_command', written)
    monkeypatch.setattr(suite, '_loader', lambda args, folder: [])
    monkeypatch.setattr(suite, '_peer_options', lambda args: ['--peer', 'pytorch'])
    assert suite.main(suite.build_parser().parse_args(['-o', str(page), '-d', 'data'])) == 0
    kinds = [options[0] for options in asked]
    assert kinds == ['training'] + ['inference'] * len(suite.INFERENCE_RUNS)
    for options in asked:
        benchmark_parser().parse_args(options)
        assert ('int8' in options) == ('-d' in options)
    kept = {
        name: f'<!-- benchmark:{name} -->\nold\n<!-- end -->\n' for name in ('loader', 'accuracy')
    }
    assert page.read_text().startswith(kept['loader'])
    assert page.read_text().endswith(kept['accuracy'])
    assert page.read_text().count('old') == 2
    assert page.read_text().count('| a |') == 1 + len(suite.INFERENCE_RUNS)


def test_the_suite_measures_eight_bits_and_the_plain_graph():
    """What the claims about speed are made of."""
    compared = {path: each for path, *each in suite.INFERENCE_RUNS}
    assert {'float32', 'bfloat16', 'int8'} == set(compared['configs/D3Net_S.yaml'][3])
    for path in ('configs/D3Net_S.yaml', 'configs/D3Net_L.yaml'):
        size, _, backends, _, forms = compared[path]
        assert size == '512x1024' and {'plain', 'auto'} <= set(backends)
        assert 'channels_last' in forms
    assert compared['configs/DDRNet23slim_cityscapes.yaml'][0] == '1024x2048'


def test_scores_are_those_of_evaluate(working_folder, monkeypatch, shared):
    """On an image, by the command itself, in a process of its own."""
    page = working_folder / 'page.md'
    page.write_text('<!-- benchmark:accuracy -->\nold\n<!-- end -->\n')
    monkeypatch.setattr(suite, 'ACCURACY_PRECISIONS', ('float32', 'int8'))
    run, reports = suite._run_command, []

    def first_image(script, options, folder):
        assert script == suite.EVALUATE
        reports.append(run(script, [*options, '--limit', 1], folder))
        return reports[-1]

    monkeypatch.setattr(suite, '_run_command', first_image)
    options = ['--only', 'accuracy', '--camvid', str(shared / 'data/camvid'), '-o', str(page)]
    assert suite.main(suite.build_parser().parse_args(options)) == 0
    exact, rounded = reports
    assert exact['settings']['precision'] == 'float32' and exact['images'] == 1
    row = f'{rounded["miou"]:.2f} | {rounded["miou"] - exact["miou"]:+.2f}'
    assert f'int8 | {row} | {rounded["pixel_accuracy"]:.2f} |' in page.read_text()
    assert 'data set camvid test; images 1; weights D3Net_T_camvid.h5' in page.read_text()


def test_a_precision_that_the_cpu_lacks_is_left_out(tmp_path, monkeypatch):
    report = {
        'settings': {
            'config': 'a', 'dataset': 'b', 'split': 'c', 'weights': 'd', 'backend': 'openvino',
            'precision': 'float32', 'calibration': None,
        },
        'versions': {}, 'images': 1, 'miou': 50.0, 'pixel_accuracy': 80.0,
    }  # fmt: skip

    def run(script, options, folder):
        if 'bfloat16' in options:
            raise BackendError('this CPU has no bfloat16')
        return report

    monkeypatch.setattr(suite, '_run_command', run)
    args = suite.build_parser().parse_args(['--camvid', str(tmp_path)])
    (document,) = suite._accuracy(args, tmp_path)
    assert document['settings']['left out, bfloat16'] == 'this CPU has no bfloat16'
    assert len(document['results']) == len(suite.ACCURACY_PRECISIONS) - 1


def test_a_mistake_in_a_command_of_the_suite_is_told(tmp_path):
    options = ['loader', '-cfg', tmp_path / 'none.yaml']
    with pytest.raises(UserError, match='none.yaml'):
        suite._run_command(suite.BENCHMARK, options, tmp_path)


def test_a_loader_without_data_is_skipped_with_a_line(working_folder, monkeypatch, caplog):
    monkeypatch.setattr(suite, 'LOADER_CONFIGS', ('configs/D3Net_S.yaml',))
    with caplog.at_level('INFO', 'nnseg'):
        assert suite._loader(suite.build_parser().parse_args([]), working_folder) == []
    assert 'loader, D3Net_S: skipped' in caplog.text
    args = suite.build_parser().parse_args(['-d', str(working_folder / 'none')])
    with pytest.raises(UserError, match='none: no such folder'):  # what is named must be there
        suite._loader(args, working_folder)


def test_the_project_has_all_markers_and_configs():
    readme_tables.require_blocks(PROJECT / 'README.md', suite.TABLE_NAMES)
    inferred = [path for path, *_ in suite.INFERENCE_RUNS]
    for path in (*suite.LOADER_CONFIGS, suite.TRAINING_RUN[0], *inferred, suite.ACCURACY_CONFIG):
        assert (PROJECT / path).is_file()


@pytest.mark.parametrize('name', suite.TABLE_NAMES)
def test_the_tables_of_the_project_have_all_columns(name):
    """With a number in each."""
    text = (PROJECT / 'README.md').read_text()
    block = text.split(readme_tables.BEGIN.format(name))[1].split(readme_tables.END)[0]
    assert '\n'.join(readme_tables.table_header(name)) in block
    rows = [line.split('|')[1:-1] for line in block.splitlines() if line.startswith('|')][2:]
    assert all(any(cell.strip() for cell in column) for column in zip(*rows))


def test_a_mistake_is_told_before_anything_runs(tmp_path):
    process = programs.run('-m', 'benchmarks.suite', '-o', tmp_path / 'page.md')
    assert 'page.md: cannot be read' in programs.error_line(process)
