"""Records of several tasks: log, series, TensorBoard, validations, and their resuming."""

import json

import numpy as np
import pytest

from common.errors import UserError
from engine.runs import series, validation_scores
from engine.runs.interval import Interval
from engine.runs.logger import RunLogger
from support import task_records
from support.logged_runs import events, log_lines


def test_log_series_and_events_have_each_task(tmp_path):
    task_records.train(tmp_path)
    mean = np.mean([1 / i for i in range(11, 21)])
    lines = log_lines(tmp_path)
    losses = f'loss {3 * mean:.5g} (depth {2 * mean:.5g}, motion {mean:.5g}; scales 1.2, 1.8)'
    assert f'INFO iteration 20/100 | {losses} | lr 0.01' in lines[2]
    assert lines[3] == (
        'INFO iteration 20/100 | validation score 65.00 % | depth ARD 30.00 % | motion mIoU 60.00 %'
    )
    for name, factor in (('depth', 2), ('motion', 1), (None, 3)):
        loss = series.LOSS if name is None else series.task_loss(name)
        rows = series.read_series(tmp_path, loss)
        assert [row[0] for row in rows] == [10, 20, 30]
        assert rows[1][1] == pytest.approx(factor * mean, rel=1e-5)
    for name, values in (
        (series.TASK_SCORE, [55, 65, 75]),
        ('Validation depth', [40, 30, 20]),
        ('Validation motion', [50, 60, 70]),
    ):
        assert [row[1] for row in series.read_series(tmp_path, name)] == values
    assert not series.series_path(tmp_path, series.SCORE).exists()
    read = events(tmp_path)
    for tag in ('train/loss/depth', 'train/scale/motion', 'val/depth/rmse', 'val/motion/miou'):
        assert len(read.Scalars(tag)) == 3, tag
    entries = series.read_validations(tmp_path)
    assert entries[0]['tasks']['motion']['classes'] == {'static': 95.0, 'moving': None}
    assert entries[0]['tasks']['depth']['delta1'] == 75.0


def test_fixed_weights_are_not_logged_as_scales(tmp_path):
    task_records.train(tmp_path, learned=False)
    assert 'scales' not in (tmp_path / 'train.log').read_text()


@pytest.mark.parametrize('stop', [14, 20, 25])
def test_a_resumed_run_has_the_same_records(stop, tmp_path):
    """Wherever an interval is divided; records of repeated iterations are dropped."""
    task_records.train(tmp_path / 'whole')
    state = {}
    with RunLogger(
        tmp_path / 'part', log_interval=10, max_iter=100, active=True, tasks=task_records.TASKS
    ) as logger:
        for i in range(1, stop + 4):
            losses = {'depth': 2 / i, 'motion': 1 / i}
            logger.step(i, 3 / i, 0.01, 0.1, 0.4, losses, {})
            if i == stop:
                state = json.loads(json.dumps(logger.state()))
            if i % 10 == 0:
                logger.validation(i, task_records.report_of(50.0 - i, 40.0 + i))
    assert ('pending_tasks' in state) == (stop != 20)
    state.pop('seconds')
    task_records.train(tmp_path / 'part', stop + 1, **state)
    for path in (tmp_path / 'whole').glob('*.series.txt'):
        assert (tmp_path / 'part' / path.name).read_text() == path.read_text()
    files = [tmp_path / name / 'validation.json' for name in ('part', 'whole')]
    assert files[0].read_text() == files[1].read_text()


def test_losses_of_other_tasks_are_dropped():
    interval = Interval(('depth',), [(1.0, 0.1, 0.0, 0.5)], [(1.0, 2.0)])
    interval.add((3.0, 0.1, 0.0, 0.5), {'depth': 3.0}, {})
    means = interval.take_means()
    assert means.loss == 2
    assert means.task_losses == {'depth': 3.0}


def test_undefined_scores_have_no_series(tmp_path):
    with RunLogger(
        tmp_path, log_interval=1, max_iter=1, active=True, tasks=task_records.TASKS
    ) as logger:
        logger.validation(1, task_records.report_of(None, None))
    assert series.read_series(tmp_path, series.TASK_SCORE) == []
    line = 'validation score - | depth ARD - | motion mIoU -'
    assert line in (tmp_path / 'train.log').read_text()
    assert len(series.read_validations(tmp_path)) == 1


@pytest.mark.parametrize(
    'change',
    [
        {'tasks': {}},
        {'tasks': {'depth': 1}},
        {'tasks': {'depth': {'ard': 1.0}}},
        {'tasks': {'motion': {'miou': 'x', 'pixel_accuracy': 1.0, 'classes': {}}}},
        {'score': 'x'},
        {'iteration': -1},
    ],
)
def test_damaged_entries_are_refused(change, tmp_path):
    entry = validation_scores.entry_of(1, task_records.report_of(10.0, 50.0))
    assert validation_scores.is_entry(entry)
    (tmp_path / 'validation.json').write_text(json.dumps([{**entry, **change}]))
    with pytest.raises(UserError, match='validation.json: is not a list of scores'):
        series.read_validations(tmp_path)
