"""The report of several runs: rows, groups of seeds, what differs, one picture."""

import os
import re
from pathlib import Path

import cv2
import numpy as np

from common.command import run_command
from engine.report import __main__ as report
from engine.report import compared_curves, comparison, groups, records
from support.reported_runs import save_state, train


def finished(path, seed=0, processes=1, **options):
    """Write a run with its state; return its folder."""
    folder = train(path, **options)
    save_state(folder, options.get('last', 30), seed, processes, size=1)
    return folder.path


def compared(*runs):
    """Return the page about runs, and its tables, as rows of cells by first cell."""
    found = groups.group([records.read_run(run, empty=True) for run in runs])
    return tables_of(comparison.format_page(found, Path('a.png'), Path('a.md')))


def tables_of(page):
    scores, differing = page.split('## What differs')
    return page, _table(scores), _table(differing)


def _table(text):
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in text.splitlines()]
    titles, _, *rows = [row for row in rows if row] or [[], []]
    return {row[0]: dict(zip(titles, row)) for row in rows}


def refused(capsys, *arguments):
    """Run the report, assert status 2, and return the one-line error."""
    assert run_command(report.build_parser, report.main, [str(a) for a in arguments]) == 2
    (line,) = [e for e in capsys.readouterr().err.splitlines() if e.startswith('error: ')]
    return line


def test_runs_of_other_seeds_are_one_row_with_mean_and_deviation(tmp_path, capsys):
    bests = (60.0, 61.0, 64.5)
    runs = [finished(tmp_path / f's{i}', seed=i, best=best) for i, best in enumerate(bests)]
    other = finished(tmp_path / 'other', seed=3, lr=0.5)
    arguments = [str(text) for text in (*runs, other, '-o', tmp_path / 'a.png')]
    assert run_command(report.build_parser, report.main, arguments) == 0
    printed = capsys.readouterr().out
    assert (tmp_path / 'a.md').read_text() == printed
    page, rows, differing = tables_of(printed)
    assert list(rows) == ['s0, s1, s2', 'other']
    row = rows['s0, s1, s2']
    assert (row['n'], row['seed'], row['at iteration']) == ('3', '0, 1, 2', '20')
    assert row['best mIoU, %'] == f'{np.mean(bests):.2f} ± {np.std(bests, ddof=1):.2f}'
    assert row['last mIoU, %'] == f'{np.mean(bests) - 1:.2f} ± {np.std(bests, ddof=1):.2f}'
    assert '(n - 1)' in page
    assert (rows['other']['n'], rows['other']['best mIoU, %']) == ('1', '60.00')
    assert float(rows['other']['s/iteration']) > 0
    assert float(rows['other']['images/s']) > 0
    assert list(differing) == ['lr']
    assert (differing['lr']['s0, s1, s2'], differing['lr']['other']) == ('0.01', '0.5')
    assert '![curves](a.png)' in page
    assert min(cv2.imread(str(tmp_path / 'a.png')).shape[:2]) > 800


def test_only_the_seed_may_differ_in_a_row(tmp_path):
    """The same seed twice, an unknown seed, other processes, a shorter run: rows of their own."""
    runs = [
        finished(tmp_path / 'a'),
        finished(tmp_path / 'same_seed'),
        finished(tmp_path / 'processes', seed=1, processes=2),
        finished(tmp_path / 'shorter', seed=2, last=20),
        train(tmp_path / 'no_state').path,
    ]
    page, rows, differing = compared(*runs)
    assert list(rows) == ['a', 'same_seed', 'processes', 'shorter', 'no_state']
    assert 'n' not in rows['a']
    assert 'No state that says the seed: no_state.' in page
    assert set(differing) == {'processes', 'iterations'}
    assert comparison.NO_DIFFERENCE in compared(*runs[:2])[0], 'equal seeds'
    assert list(differing['processes'].values())[1:] == ['1', '1', '2', '1', '-']
    assert differing['iterations']['shorter'] == '20 of 1000'


def test_a_default_that_is_set_is_no_difference(tmp_path):
    runs = finished(tmp_path / 'a'), finished(tmp_path / 'b', seed=1, accumulation=1)
    page, rows, differing = compared(*runs)
    assert list(rows) == ['a, b']
    assert not differing
    assert 'Nothing but the seeds.' in page


def test_missing_scores_and_other_images_are_said(tmp_path):
    camvid, voc = ({'dataset': name, 'split': 'val'} for name in ('camvid', 'voc'))
    runs = [
        finished(tmp_path / 'camvid', settings=camvid, images=101),
        finished(tmp_path / 'voc', settings=voc, images=1449),
        finished(tmp_path / 'none', validations=False),
        train(tmp_path / 'new', last=0, validations=False).path,
    ]
    page, rows, _ = compared(*runs)
    assert (
        'The mIoU of different images cannot be compared: camvid: camvid val, 101 images; '
        'voc: voc val, 1449 images.'
    ) in page
    assert 'No validation mIoU: none.' in page
    assert 'No results yet: new.' in page
    for name in ('none', 'new'):
        assert rows[name]['last mIoU, %'] == rows[name]['best mIoU, %'] == '-'
    assert rows['new']['iterations'] == '0 of 500'


def test_a_row_says_how_many_of_its_runs_have_a_score(tmp_path):
    runs = [finished(tmp_path / f'{seed}', seed=seed, best=50.0 + seed) for seed in range(3)]
    (runs[2] / 'Training-time-per-iteration.timer.txt').unlink()
    _, rows, _ = compared(*runs)
    (row,) = rows.values()
    assert row['s/iteration'].endswith(' (n = 2)')
    assert row['best mIoU, %'] == '51.00 ± 1.00'


def test_runs_of_one_name_are_told_apart_and_named_in_the_legend(tmp_path):
    runs = [finished(tmp_path / place / 'run$x$', lr=lr) for place, lr in (('a', 0.1), ('b', 0.2))]
    _, rows, _ = compared(*runs)
    assert list(rows) == ['a/run$x$', 'b/run$x$']
    found = groups.group([records.read_run(run) for run in runs])
    compared_curves.draw(tmp_path / 'c.svg', '', found)
    comments = re.findall(r'<!-- (.*?) -->', (tmp_path / 'c.svg').read_text())
    assert {'a/run$x$', 'b/run$x$'} <= set(comments), 'matplotlib notes each text'


def test_names_of_any_kind_are_whole_cells_lines_and_links(tmp_path):
    runs = [finished(tmp_path / name, lr=lr) for name, lr in (('a\n', 0.1), ('b', 0.2))]
    found = groups.group([records.read_run(run) for run in runs])
    page = comparison.format_page(found, tmp_path / 'm y(1).png', tmp_path / 'a.md')
    _, rows, differing = tables_of(page)
    assert list(rows) == ['a\\n', 'b']
    assert list(differing['lr']) == ['', 'a\\n', 'b']
    assert '![curves](m%20y%281%29.png)' in page


def test_mistakes_are_explained(tmp_path, capsys):
    one, two = finished(tmp_path / 'one'), finished(tmp_path / 'two', seed=1)
    assert 'one: is given twice; name each run once' in refused(
        capsys, one, two, tmp_path / 'two' / '..' / 'one', '-o', tmp_path / 'a.png'
    )
    assert 'none: no such folder' in refused(capsys, one, tmp_path / 'none')
    (tmp_path / 'notes.md').write_text('mine')
    line = refused(capsys, one, two, '-o', tmp_path / 'notes.png')
    assert 'notes.md: is not a comparison of runs and would be overwritten; name another' in line
    assert not (tmp_path / 'notes.png').exists()
    os.mkfifo(two / 'train.log.1')
    assert 'is a pipe or a device' in refused(capsys, one, two)
    (two / 'train.log.1').unlink()
    (two / 'report.png').write_bytes(b'of one run')
    assert 'is a file of a run' in refused(capsys, one, two, '-o', two / 'report.png')
    assert 'unknown picture format; use .png' in refused(
        capsys, one, two, '-o', tmp_path / 'a.what'
    )


def test_the_mean_curve_has_the_iterations_of_all():
    one, two = np.array([[1, 2, 4], [1.0, 3, 5]]), np.array([[1, 3, 4], [3.0, 9, 7]])
    expected = [[1, 4], [2, 6]]
    np.testing.assert_allclose(compared_curves.mean_curve([one, two]), expected)
    assert compared_curves.mean_curve([one]).shape == (2, 0)
