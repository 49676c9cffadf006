"""The log of a run on the console and in train.log, on a terminal, and on a full disk."""

import logging
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from common.log import LOG
from engine.runs.logger import RunLogger
from support import programs, terminals
from support.logged_runs import REPORT, log_lines, train


def test_a_line_per_interval_on_the_console_and_in_the_log(tmp_path, caplog):
    train(tmp_path, 1, 25, memory=lambda: 2048.4)
    LOG.info('after the end')
    lines = log_lines(tmp_path)
    mean = np.mean([1 / i for i in range(11, 21)])
    assert re.fullmatch(
        rf'INFO iteration 20/100 \| loss {mean:.5g} \| lr 0.155 \| 0.400 s/step \| data 25 % \| '
        r'00:00:0\d left \| 2048 MiB',
        lines[1],
    )
    assert lines[2] == 'INFO iteration 20/100 | validation mIoU 20.00 % | pixel accuracy 80.50 %'
    assert [f'INFO {message}' for message in caplog.messages[:-1]] == lines
    assert lines[3].startswith(
        f'INFO iteration 25/100 | loss {np.mean([1 / i for i in range(21, 26)]):.5g} |'
    )
    assert len(lines) == 4


def test_an_error_of_the_training_takes_precedence_over_a_full_disk(tmp_path):
    with (
        pytest.raises(ZeroDivisionError),
        programs.full_disk(60),
        RunLogger(tmp_path, log_interval=10, max_iter=9, active=True) as logger,
    ):
        logger.step(1, 1.0, 0.1, 0.0, 0.5)
        raise ZeroDivisionError
    assert len((tmp_path / 'train.log').read_text()) == 60


def test_train_log_contains_all_messages_of_the_logger(tmp_path):
    with RunLogger(tmp_path, log_interval=1, max_iter=9, active=True) as logger:
        LOG.warning('two %s\nlines', 'short')
        LOG.debug('below the level')
        LOG.setLevel(logging.WARNING)
        logger.note('logged at any level')
    text = (tmp_path / 'train.log').read_text()
    assert 'WARNING two short\n    lines\n' in text
    assert text.endswith('INFO logged at any level\n')
    assert 'below the level' not in text


def test_remaining_time_and_memory(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr('time.monotonic', lambda: now[0])
    with RunLogger(
        tmp_path, log_interval=2, max_iter=40004, active=True, start_iteration=2
    ) as logger:
        now[0] += 20
        logger.step(3, 1.0, 0.1, 0.0, 0.0)
        logger.step(4, 1.0, 0.1, 0.0, 0.0)
    line = log_lines(tmp_path)[0]
    assert ' data 0 % | 111:06:40 left | ' in line
    assert float(line.split()[-2]) > 50  # the process itself needs more


def test_an_inactive_logger_does_nothing(tmp_path):
    with RunLogger(tmp_path / 'run', log_interval=1, max_iter=9, active=False) as logger:
        logger.step(1, 1.0, 0.1, 0.0, 0.5)
        logger.validation(1, REPORT)
        logger.pictures(1, {'a': np.zeros((4, 4, 3), np.uint8)})
        logger.note('nothing')
        LOG.warning('elsewhere')
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize('file', ['train.log', 'Training-loss.series.txt', 'events'])
def test_a_full_disk_is_reported_once(file, tmp_path, monkeypatch):
    """Each parameter is the file that cannot grow."""
    limit = 30_000
    if file != 'events':
        (tmp_path / file).write_text('0 1\n' * (limit // 4))
    options = {'log_interval': 1, 'max_iter': 9, 'active': True}
    large = {'noise': np.random.RandomState(0).randint(0, 256, (200, 200, 3), np.uint8)}
    with (
        programs.full_disk(limit),
        pytest.raises(UserError, match=f'^{tmp_path}: cannot be written') as caught,
        RunLogger(tmp_path, **options) as logger,
    ):
        logger.step(1, 1.0, 0.1, 0.0, 0.5)
        LOG.info('a message of another module')
        logger.pictures(1, large)
    assert '\n' not in str(caught.value)
    with RunLogger(
        tmp_path, **{**options, 'start_iteration': 1}
    ) as logger:  # the disk has space again
        logger.note('continued')
    assert (tmp_path / 'train.log').read_text().endswith('INFO continued\n')
    assert '\n2' in (tmp_path / 'train.log').read_text() or file != 'train.log'


def test_a_message_of_another_module_fails_in_one_line(tmp_path, capsys):
    (tmp_path / 'train.log').write_text('0' * 30_000)
    with (
        pytest.raises(UserError, match='cannot be written'),
        RunLogger(tmp_path, log_interval=1, max_iter=9, active=True),
        programs.full_disk(30_000),
    ):
        LOG.warning('a message of another module')
    assert 'Traceback' not in capsys.readouterr().err


def test_a_folder_that_cannot_be_created(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match='file/run: cannot be written'):
        RunLogger(tmp_path / 'file' / 'run', log_interval=1, max_iter=9, active=True)


TERMINAL = """
import sys
from common import log
log.set_up(False)
LOG = log.LOG
from engine.runs.logger import RunLogger
with RunLogger(sys.argv[1], log_interval=2, max_iter=4, active=True) as logger:
    for i in range(1, 5):
        logger.step(i, 1 / i, 0.1, 0.1, 0.2)
    LOG.info('a message')
"""


def test_a_terminal_shows_a_progress_bar(tmp_path):
    status, text = terminals.run_on_terminal(
        [sys.executable, '-c', TERMINAL, str(tmp_path)], cwd=programs.PROJECT
    )
    assert status == 0
    assert '4/4 |' in text
    assert 'loss 0.25, lr 0.1, step 0.20 s, data 0.10 s, ' in text
    assert re.search(r'a message\s*$', text, re.MULTILINE)
    assert 's/step' not in text  # only train.log has this line
    lines = log_lines(tmp_path)
    assert ['iteration' in line for line in lines] == [True, True, False]


def test_skipped_steps_are_reported_once_per_interval(tmp_path, caplog):
    with RunLogger(tmp_path, log_interval=3, max_iter=9, active=True) as logger:
        for i in range(1, 8):
            if i in (1, 3, 7):
                logger.skipped(i, 2.0**-i)
            logger.step(i, 1.0, 0.01, 0.1, 0.4)
    messages = [record.getMessage() for record in caplog.records if record.levelname == 'WARNING']
    assert [text.split(' were')[0] for text in messages] == [
        '2 of the last 3 iterations, most recently 3,',
        '1 of the last 1 iterations, most recently 7,',
    ]
    assert messages[0].endswith('overflowed in half precision; the loss scale is now 0.125')


def test_names_and_links_do_no_harm(tmp_path, caplog):
    """Names of classes control no terminal, and files behind links keep what they have."""
    caplog.set_level('INFO')
    (tmp_path / 'own.txt').write_text('precious\n')
    (tmp_path / 'train.log').symlink_to('own.txt')
    scores = {'a\x1b[31m\udc9b\u202e\nb': {'iou': 50.0}}
    report = {'miou': 50.0, 'pixel_accuracy': 60.0, 'classes': scores, 'origin': 'of \x1b[2J'}
    with RunLogger(tmp_path, log_interval=1, max_iter=2, active=True) as logger:
        logger.validation(1, report)
        logger.pictures(1, {'\x1b\udc9b': np.zeros((2, 2, 3), np.uint8)})
        LOG.warning('%s', Path('x\x1b\ny'))
    text = (tmp_path / 'own.txt').read_text()
    assert text.startswith('precious\n') and (tmp_path / 'train.log').is_symlink()
    assert r'| of \x1b[2J' in text and r'WARNING x\x1b\ny' in text and text.count('\n') == 3
    assert '\x1b' not in text
    (events,) = tmp_path.glob('events*')
    assert rb'val/iou/a\x1b[31m\udc9b\u202e\nb' in events.read_bytes()
    assert rb'val/\x1b\udc9b' in events.read_bytes()
