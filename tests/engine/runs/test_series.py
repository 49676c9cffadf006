"""Series and validation scores: NNabla's format, resumed runs, damaged files."""

import time

import numpy as np
import pytest

from common.errors import UserError
from engine.runs import series
from engine.runs.logger import RunLogger
from support.logged_runs import events, log_lines, train


def test_series_have_the_format_of_nnablas_monitors(tmp_path):
    train(tmp_path, 1, 20)
    means = [np.mean([1 / i for i in range(a, a + 10)]) for a in (1, 11)]
    text = (tmp_path / 'Training-loss.series.txt').read_text()
    assert text == ''.join(f'{i} {mean:g}\n' for i, mean in zip((10, 20), means))
    assert (tmp_path / 'Learning-rate.series.txt').read_text() == '10 0.055\n20 0.155\n'
    assert (tmp_path / 'Validation-mIoU.series.txt').read_text() == '20 20\n'
    times = series.read_series(tmp_path, series.TIME)
    assert [(row[0], row[2]) for row in times] == [(10, 10), (20, 10)]
    assert sum(row[1] for row in times) == pytest.approx(times[-1][3], abs=0.05)


def test_a_resumed_run_drops_the_records_of_repeated_iterations(tmp_path):
    train(tmp_path, 1, 70)
    files = {name: series.series_path(tmp_path, name) for name in series.COLUMN_COUNTS}
    before = {name: path.read_text().splitlines() for name, path in files.items()}
    with open(files[series.LOSS], 'a') as file:
        file.write('80 0.0')  # cut off when the process was killed
    time_row = '40 2.5 10 3600.25'
    files[series.TIME].write_text(f'{time_row}\n50 3 10 3603.25\n')
    train(tmp_path, 41, 60)
    for name in (series.LOSS, series.RATE):
        assert files[name].read_text().splitlines() == before[name][:6]
    scores = files[series.SCORE].read_text()
    assert scores == '20 20\n40 40\n60 60\n'
    entries = series.read_validations(tmp_path)
    assert [entry['iteration'] for entry in entries] == [20, 40, 60]
    assert entries[0]['classes'] == {'road / way': 82.5, 'absent': None}
    lines = files[series.TIME].read_text().splitlines()
    assert lines[0] == time_row
    rows = series.read_series(tmp_path, series.TIME)
    assert [(row[0], row[2]) for row in rows] == [(40, 10), (50, 10), (60, 10)]
    assert 3600.25 < rows[-1][3] < 3660
    read = events(tmp_path)
    for tag in ('train/loss', 'train/step_seconds'):
        assert [event.step for event in read.Scalars(tag)] == [10, 20, 30, 40, 50, 60]
    assert [event.step for event in read.Scalars('val/miou')] == [20, 40, 60]
    assert sum('iteration 50/100' in line for line in log_lines(tmp_path)) == 2


def test_a_run_restarted_without_a_state_drops_all_earlier_records(tmp_path):
    train(tmp_path, 1, 20)
    train(tmp_path, 1, 10)
    assert len(series.read_series(tmp_path, series.LOSS)) == 1
    assert series.read_validations(tmp_path) == []
    assert [event.step for event in events(tmp_path).Scalars('train/loss')] == [10]


def test_errors_name_damaged_records(tmp_path):
    path = tmp_path / 'Training-loss.series.txt'
    for content in ('what\n', '1 2 3\n', '\n', '\x00\x80\n'):
        path.write_text(content)
        with pytest.raises(UserError, match='Training-loss.series.txt: .* remove it'):
            RunLogger(tmp_path, log_interval=1, max_iter=9, active=True)
    path.unlink()
    for content in ('', '{}x', '[1]', '[{"iteration": "1"}]', '{"a": 1}'):
        (tmp_path / 'validation.json').write_text(content)
        with pytest.raises(UserError, match='validation.json: .* remove it'):
            RunLogger(tmp_path, log_interval=1, max_iter=9, active=True)


def test_the_time_of_a_run_contains_validations_and_what_follows(tmp_path):
    """It also contains the time before the state that a run in a new folder resumes from."""
    report = {'miou': 1.0, 'pixel_accuracy': 2.0, 'classes': {}}
    with RunLogger(tmp_path, log_interval=1, max_iter=2, active=True, seconds=500) as logger:
        logger.step(1, 1.0, 0.1, 0.1, 0.1)
        (before,) = series.read_series(tmp_path, series.TIME)
        time.sleep(0.2)
        logger.validation(1, report)
        (validated,) = series.read_series(tmp_path, series.TIME)
        time.sleep(0.2)
        assert logger.seconds() >= validated[3] + 0.2
    (closed,) = series.read_series(tmp_path, series.TIME)
    assert 500 <= before[3] < 510
    assert before[3] + 0.2 <= validated[3] <= closed[3] - 0.2
    assert (closed[0], closed[2]) == (1, 1)
    assert closed[1] == pytest.approx(closed[3] - 500, abs=0.05)
