"""The suite: which benchmarks it runs, and where it writes their tables."""

import json

import pytest

from benchmarks import harness, markdown_tables, suite
from benchmarks.__main__ import build_parser as benchmark_parser
from common import PROJECT
from common.errors import UserError
from engine.backends.errors import BackendError
from support import programs

pytestmark = pytest.mark.bench

RESULT = harness.TimingResult('a', 100, 90, 110, 1, {'MiB': 1.0})


def test_the_suite_writes_into_the_markers(tmp_path, monkeypatch):
    """Skipped benchmarks keep their tables, and the rest of the file is unchanged."""
    page = tmp_path / 'page.md'
    page.write_text(
        ''.join(f'<!-- benchmark:{name} -->\nold\n<!-- end -->\n' for name in suite.TABLE_NAMES)
    )
    commands = []

    def fake_run(script, options, folder):
        commands.append([str(option) for option in options])
        harness.write_json(folder / 'r', [RESULT], {'config': 'C', 'size': '1x1'})
        return json.loads((folder / 'r').read_text())

    monkeypatch.setattr(suite, '_run_command', fake_run)
    monkeypatch.setattr(suite, '_loader', lambda args, folder: [])
    monkeypatch.setattr(suite, '_peer_options', lambda args: ['--peer', 'pytorch'])
    assert suite.main(suite.build_parser().parse_args(['-o', str(page), '-d', 'data'])) == 0
    kinds = [options[0] for options in commands]
    assert kinds == ['training'] + ['inference'] * len(suite.INFERENCE_RUNS)
    for options in commands:
        benchmark_parser().parse_args(options)
        assert ('int8' in options) == ('-d' in options)
    kept = {
        name: f'<!-- benchmark:{name} -->\nold\n<!-- end -->\n' for name in ('loader', 'accuracy')
    }
    assert page.read_text().startswith(kept['loader'])
    assert page.read_text().endswith(kept['accuracy'])
    assert page.read_text().count('old') == 2
    assert page.read_text().count('| a |') == 1 + len(suite.INFERENCE_RUNS)


def test_the_suite_measures_what_readme_claims():
    """The plain graph, PyTorch and three precisions at full image size."""
    compared = {path: each for path, *each in suite.INFERENCE_RUNS}
    assert {'float32', 'bfloat16', 'int8'} == set(compared['configs/D3Net_S.yaml'][3])
    for path in ('configs/D3Net_S.yaml', 'configs/D3Net_L.yaml'):
        size, _, backends, _, forms = compared[path]
        assert size == '512x1024' and {'plain', 'auto'} <= set(backends)
        assert 'channels_last' in forms
    assert compared['configs/DDRNet23slim_cityscapes.yaml'][0] == '1024x2048'


def test_accuracies_are_the_scores_of_evaluate(working_folder, monkeypatch, camvid):
    """evaluate.py itself scores one image in a worker process."""
    page = working_folder / 'page.md'
    page.write_text('<!-- benchmark:accuracy -->\nold\n<!-- end -->\n')
    monkeypatch.setattr(suite, 'ACCURACY_PRECISIONS', ('float32', 'int8'))
    run, reports = suite._run_command, []

    def first_image(script, options, folder):
        assert script == suite.EVALUATE
        reports.append(run(script, [*options, '--limit', 1], folder))
        return reports[-1]

    monkeypatch.setattr(suite, '_run_command', first_image)
    options = ['--only', 'accuracy', '--camvid', str(camvid), '-o', str(page)]
    assert suite.main(suite.build_parser().parse_args(options)) == 0
    exact, rounded = reports
    assert exact['settings']['precision'] == 'float32' and exact['images'] == 1
    row = f'{rounded["miou"]:.2f} | {rounded["miou"] - exact["miou"]:+.2f}'
    assert f'int8 | {row} | {rounded["pixel_accuracy"]:.2f} |' in page.read_text()
    assert 'data set camvid test; images 1; weights D3Net_T_camvid.h5' in page.read_text()


def test_a_precision_that_the_cpu_lacks_is_excluded(tmp_path, monkeypatch):
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


def test_a_command_of_the_suite_reports_a_mistake(tmp_path):
    options = ['loader', '-cfg', tmp_path / 'none.yaml']
    with pytest.raises(UserError, match='none.yaml'):
        suite._run_command(suite.BENCHMARK, options, tmp_path)


def test_the_loader_is_skipped_without_data_and_logged(working_folder, monkeypatch, caplog):
    monkeypatch.setattr(suite, 'LOADER_CONFIGS', ('configs/D3Net_S.yaml',))
    with caplog.at_level('INFO', 'nnseg'):
        assert suite._loader(suite.build_parser().parse_args([]), working_folder) == []
    assert 'loader, D3Net_S: skipped' in caplog.text
    args = suite.build_parser().parse_args(['-d', str(working_folder / 'none')])
    with pytest.raises(UserError, match='none: no such folder'):  # a named folder must exist
        suite._loader(args, working_folder)


def test_readme_has_all_markers_and_the_configs_exist():
    markdown_tables.require_blocks(suite.PAGE, suite.TABLE_NAMES)
    inferred = [path for path, *_ in suite.INFERENCE_RUNS]
    for path in (*suite.LOADER_CONFIGS, suite.TRAINING_RUN[0], *inferred, suite.ACCURACY_CONFIG):
        assert (PROJECT / path).is_file()


def test_a_bad_output_file_is_reported_before_any_benchmark(tmp_path):
    process = programs.run('-m', 'benchmarks.suite', '-o', tmp_path / 'page.md')
    assert 'page.md: cannot be read' in programs.error_line(process)
