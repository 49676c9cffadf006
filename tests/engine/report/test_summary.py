"""The report page of a run: finished, in progress, resumed, with a damaged state; bad folders."""

import json
import re

import cv2
import numpy as np
import pytest

from common.command import run_command
from common.errors import UserError
from engine.report import __main__ as report
from engine.report import records, summary
from support import programs
from support.reported_runs import save_state, train


def facts(page):
    """Return the rows of all tables of a page, as values by name."""
    rows = [re.split(r'(?<!\\)\|', line) for line in page.splitlines() if line.startswith('|')]
    return {name.strip(): value.strip() for _, name, value, _ in rows}


def page_of(path):
    """Return the page of a run."""
    return summary.format_page(records.read_run(path), path / 'report.png')


def test_the_command_prints_and_writes_the_page(tmp_path):
    folder = train(tmp_path / 'run')
    save_state(folder, 30)
    folder.weights(30).write_bytes(bytes(3 << 20))
    folder.best.write_bytes(bytes(1 << 20))
    process = programs.run('-m', 'engine.report', folder.path)
    assert (process.returncode, process.stderr) == (0, '')
    page = (folder.path / 'report.md').read_text()
    assert process.stdout == page
    assert page.startswith('# run\n')
    rows = facts(page)
    last = np.mean([3 / i for i in range(21, 31)])
    expected = {
        'config': 'D3Net_L',
        'network': 'd3net',
        'data set': 'cityscapes',
        'iterations': '30 of 1000',
        'last loss': f'{last:.5g}',
        'lowest loss': f'{last:.5g} at iteration 30',
        'last validation mIoU': '59.00 %',
        'best validation mIoU': '60.00 % at iteration 20',
        'processes': '4',
        'seed': '17',
        'state': 'of iteration 30',
        'road': '80.00',
        'model_param_00000030.h5': '3.0',
        'best.h5': '1.0',
        'state.h5': '2.8',
    }
    assert {name: rows.get(name) for name in expected} == expected
    assert rows['wall time'].startswith('0:00:0')
    assert rows['a\\|b'] == '-'
    assert 'nnabla 1.39.0, numpy 1.26.4' in page
    assert '![curves](report.png)' in page
    picture = cv2.imread(str(folder.path / 'report.png'))
    assert min(picture.shape[:2]) > 800


def test_a_run_in_progress_without_a_state(tmp_path):
    folder = train(tmp_path / 'mine', last=12, validations=False)
    with open(folder.path / 'Training-loss.series.txt', 'a') as file:
        file.write('20 0.')
    page = page_of(folder.path)
    assert page.startswith('# mine\n')
    rows = facts(page)
    assert rows['iterations'] == '12 of 1000'
    assert rows['state'] == 'none yet'
    assert rows['processes'] == rows['seed'] == rows['validation mIoU'] == '-'
    assert 'None yet.' in page


def test_a_resumed_run_counts_from_its_new_start(tmp_path):
    train(tmp_path, last=30)
    train(tmp_path, first=11, last=20)
    rows = facts(page_of(tmp_path))
    assert rows['iterations'] == '20 of 1000'
    assert rows['last validation mIoU'] == rows['best validation mIoU'].split(' at')[0]


def test_a_damaged_state_is_reported(tmp_path):
    folder = train(tmp_path)
    folder.state.write_bytes(b'what')
    page = page_of(tmp_path)
    assert facts(page)['state'] == 'cannot be used'
    assert f'{folder.state} is not a training state' in page


def test_the_page_links_a_picture_in_another_folder(tmp_path):
    run, picture = tmp_path / 'run', tmp_path / 'pictures' / 'a.png'
    train(run)
    args = report.build_parser().parse_args([str(run), '-o', str(picture)])
    assert report.main(args) == 0
    assert picture.exists()
    assert '![curves](../pictures/a.png)' in (run / 'report.md').read_text()


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (
            lambda folder: folder.config.unlink(),
            r'holds no run of train.py \(config.yaml is missing',
        ),
        (lambda folder: folder.config.write_text('a: [b'), 'config.yaml: not valid YAML'),
        (lambda folder: folder.config.write_text('- a'), 'config.yaml: is not a config'),
        (
            lambda folder: folder.config.write_text('max_iter: many'),
            r'max_iter: must be a whole number, not .many. \(.*config.yaml\)',
        ),
        (lambda folder: (folder.path / 'validation.json').write_text('['), 'json: not valid JSON'),
    ],
)
def test_folders_without_a_run_are_refused(spoil, message, tmp_path):
    folder = train(tmp_path)
    spoil(folder)
    with pytest.raises(UserError, match=message) as caught:
        records.read_run(tmp_path)
    assert str(tmp_path) in str(caught.value)


ENTRY = {'iteration': 5, 'miou': 1.5, 'pixel_accuracy': None, 'classes': {'a': 1}}


@pytest.mark.parametrize(
    ('name', 'texts'),
    [
        (
            'validation.json',
            ('{}', '[1]', 'NaN', '[' * 10_000, '[' + '9' * 5000 + ']', *(
                json.dumps([ENTRY | {key: value}])
                for key, values in (
                    ('iteration', (True, -1, 1.5, 10**30, '5', None)),
                    ('miou', ('1', [], True, 10**400)),
                    ('classes', ([], None, {'a': 'b'}, {'a': {}})),
                    ('origin', (1, [])),
                )
                for value in values
            )),
        ),
        ('Training-loss.series.txt', ('a 1', '1', '1 2 3', 'nan 1', 'inf 1', '-1 1', '1e300 1')),
        ('Training-time-per-iteration.timer.txt', ('1 inf 1 1', '1 1 1 nan', '1 1')),
        ('Learning-rate.series.txt', ('\0', '1 ' + '9' * 400_000 + 'x')),
    ],
)  # fmt: skip
def test_damaged_numbers_are_refused_in_one_line(name, texts, tmp_path):
    train(tmp_path)
    for text in texts:
        (tmp_path / name).write_text(f'{text}\n')
        with pytest.raises(UserError, match=f'{name}: .*; remove it to continue') as error:
            records.read_run(tmp_path)
        assert len(str(error.value)) < 500
    (tmp_path / name).write_bytes(b'\xff\n')
    with pytest.raises(UserError, match=f'{name}: not UTF-8 text .*; remove it to continue'):
        records.read_run(tmp_path)


def test_files_that_no_training_wrote_do_not_end_the_report(tmp_path):
    """Links to nothing, folders named as weights, and a log without an end."""
    tmp_path = tmp_path / r'a$\frac$'
    folder = train(tmp_path)
    (tmp_path / 'model_param_00000099.h5').symlink_to('nowhere')
    (tmp_path / 'model_param_00000098.h5').mkdir()
    (tmp_path / 'train.log').write_text(
        '1 1 INFO iteration 1/' + '9' * 10_000 + ' | x\n' + 'x' * 10**6
    )
    path = tmp_path / 'Training-loss.series.txt'
    path.write_text('1 nan\n2 inf\n3 -inf\n4 1e308\n5 -1e308\n')
    assert report.main(report.build_parser().parse_args([str(tmp_path)])) == 0
    rows = facts((tmp_path / 'report.md').read_text())
    assert 'model_param_00000099.h5' not in rows
    assert folder.saved() == {}


def test_a_run_without_results_is_refused(tmp_path, capsys):
    with pytest.raises(UserError, match='none: no such folder; pass the folder of a run'):
        records.read_run(tmp_path / 'none')
    train(tmp_path, last=0)
    with pytest.raises(UserError, match='the run has no results yet'):
        records.read_run(tmp_path)
    assert run_command(report.build_parser, report.main, [str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('error: ')
    assert 'no results yet' in line
