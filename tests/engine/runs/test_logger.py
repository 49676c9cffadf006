"""What is told about a run: on the console, in files, in TensorBoard; resumed, and with no room."""

import fcntl
import io
import logging
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from common.errors import UserError
from common.log import LOG
from engine.runs import series
from engine.runs.logger import RunLogger
from engine.runs.tensorboard import EventWriter
from support import programs, stand_ins

REPORT = {
    'miou': 41.25,
    'pixel_accuracy': 80.5,
    'classes': {
        'road / way': {'iou': 82.5, 'accuracy': 90.0, 'share': 60.0},
        'absent': {'iou': None, 'accuracy': None, 'share': 0.0},
    },
}
NOTHING = {'miou': None, 'pixel_accuracy': None, 'classes': {'absent': {'iou': None}}}


@pytest.fixture(autouse=True)
def shown():
    """The logger as a command line sets it up, and back."""
    level = LOG.level
    LOG.setLevel(logging.INFO)
    handlers = list(LOG.handlers)
    yield
    assert LOG.handlers == handlers, 'the logger has left its handler'
    LOG.setLevel(level)


def train(folder, first, last, interval=10, **options):
    """Iterations ``first`` to ``last`` of 100, with a loss of one over the iteration."""
    with RunLogger(
        folder,
        log_interval=interval,
        max_iter=100,
        active=True,
        start_iteration=first - 1,
        **options,
    ) as logger:
        for i in range(first, last + 1):
            logger.step(i, 1 / i, 0.01 * i, 0.1, 0.4)
            if i % 20 == 0:
                logger.validation(i, {**REPORT, 'miou': float(i)})


def events(folder):
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return accumulator


def log_lines(folder):
    """The lines of train.log without their times, which are checked."""
    lines = (folder / 'train.log').read_text().splitlines()
    for line in lines:
        assert re.match(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z]+ ', line), line
    return [line[20:] for line in lines]


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


def test_an_error_of_the_training_is_the_one_that_counts(tmp_path):
    with (
        pytest.raises(ZeroDivisionError),
        programs.full_disk(60),
        RunLogger(tmp_path, log_interval=10, max_iter=9, active=True) as logger,
    ):
        logger.step(1, 1.0, 0.1, 0.0, 0.5)
        raise ZeroDivisionError
    assert len((tmp_path / 'train.log').read_text()) == 60


def test_the_log_has_what_the_logger_says(tmp_path):
    with RunLogger(tmp_path, log_interval=1, max_iter=9, active=True) as logger:
        LOG.warning('two %s\nlines', 'short')
        LOG.debug('unasked')
        LOG.setLevel(logging.WARNING)
        logger.note('noted all the same')
    text = (tmp_path / 'train.log').read_text()
    assert 'WARNING two short\n    lines\n' in text
    assert text.endswith('INFO noted all the same\n')
    assert 'unasked' not in text


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
    assert float(line.split()[-2]) > 50  # this process surely has that much


def test_nothing_happens_where_inactive(tmp_path):
    with RunLogger(tmp_path / 'run', log_interval=1, max_iter=9, active=False) as logger:
        logger.step(1, 1.0, 0.1, 0.0, 0.5)
        logger.validation(1, REPORT)
        logger.pictures(1, {'a': np.zeros((4, 4, 3), np.uint8)})
        logger.note('nothing')
        LOG.warning('elsewhere')
    assert not os.listdir(tmp_path)


def test_series_are_those_of_nnablas_monitors(tmp_path):
    train(tmp_path, 1, 20)
    means = [np.mean([1 / i for i in range(a, a + 10)]) for a in (1, 11)]
    text = (tmp_path / 'Training-loss.series.txt').read_text()
    assert text == ''.join(f'{i} {mean:g}\n' for i, mean in zip((10, 20), means))
    assert (tmp_path / 'Learning-rate.series.txt').read_text() == '10 0.055\n20 0.155\n'
    assert (tmp_path / 'Validation-mIoU.series.txt').read_text() == '20 20\n'
    times = series.read_series(tmp_path, series.TIME)
    assert [(row[0], row[2]) for row in times] == [(10, 10), (20, 10)]
    assert sum(row[1] for row in times) == pytest.approx(times[-1][3], abs=0.05)


def test_resumed_at_an_earlier_iteration(tmp_path):
    train(tmp_path, 1, 70)
    files = {name: series.series_path(tmp_path, name) for name in series.COLUMN_COUNTS}
    before = {name: path.read_text().splitlines() for name, path in files.items()}
    with open(files[series.LOSS], 'a') as file:
        file.write('80 0.0')  # cut off by a kill
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


def test_started_anew_where_a_run_has_ended_before_its_first_state(tmp_path):
    train(tmp_path, 1, 20)
    train(tmp_path, 1, 10)
    assert len(series.read_series(tmp_path, series.LOSS)) == 1
    assert series.read_validations(tmp_path) == []
    assert [event.step for event in events(tmp_path).Scalars('train/loss')] == [10]


def test_tensorboard_reads_all(tmp_path):
    picture = stand_ins.image(20, 30)
    with RunLogger(tmp_path, log_interval=2, max_iter=4, active=True, memory=lambda: 5.0) as logger:
        logger.step(1, 1.0, 0.5, 0.25, 1.0)
        logger.step(2, 2.0, 0.5, 0.75, 3.0)
        logger.validation(2, REPORT)
        logger.pictures(2, {'street': picture})
        read = events(tmp_path)  # while the run goes on
        logger.validation(3, NOTHING)
    expected = {
        'train/loss': 1.5,
        'train/learning_rate': 0.5,
        'train/data_seconds': 0.5,
        'train/step_seconds': 2.0,
        'train/memory_mib': 5.0,
        'val/miou': 41.25,
        'val/pixel_accuracy': 80.5,
        'val/iou/road / way': 82.5,
    }
    assert {t: [e.value for e in read.Scalars(t)] for t in read.Tags()['scalars']} == {
        tag: [value] for tag, value in expected.items()
    }
    (image,) = read.Images('val/street')
    assert (image.step, image.height, image.width) == (2, 20, 30)
    rgb = np.asarray(Image.open(io.BytesIO(image.encoded_image_string)))
    assert np.array_equal(rgb, picture[..., ::-1])
    assert series.read_validations(tmp_path)[-1]['miou'] is None


def test_no_thread_and_no_overwritten_events(tmp_path):
    before = threading.active_count()
    for _ in range(3):
        writer = EventWriter(tmp_path, 0)
        assert threading.active_count() == before
        writer.close()
    assert len(os.listdir(tmp_path)) == 3


@pytest.mark.parametrize('file', ['train.log', 'Training-loss.series.txt', 'events'])
def test_a_full_disk_is_told_once_and_the_end_is_quiet(file, tmp_path, monkeypatch):
    """Every file in turn is the one that cannot grow."""
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
        LOG.info('said by another part')
        logger.pictures(1, large)
    assert '\n' not in str(caught.value)
    with RunLogger(tmp_path, **{**options, 'start_iteration': 1}) as logger:  # there is room again
        logger.note('goes on')
    assert (tmp_path / 'train.log').read_text().endswith('INFO goes on\n')
    assert '\n2' in (tmp_path / 'train.log').read_text() or file != 'train.log'


def test_messages_of_others_fail_in_one_line_too(tmp_path, capsys):
    (tmp_path / 'train.log').write_text('0' * 30_000)
    with (
        pytest.raises(UserError, match='cannot be written'),
        RunLogger(tmp_path, log_interval=1, max_iter=9, active=True),
        programs.full_disk(30_000),
    ):
        LOG.warning('said by another part')
    assert 'Traceback' not in capsys.readouterr().err


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match='file/run: cannot be written'):
        RunLogger(tmp_path / 'file' / 'run', log_interval=1, max_iter=9, active=True)


def test_damaged_records_are_named(tmp_path):
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


def test_a_bar_on_a_terminal(tmp_path):
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 100, 0, 0))
    process = subprocess.Popen(
        [sys.executable, '-c', TERMINAL, str(tmp_path)], cwd=programs.PROJECT, stderr=follower
    )
    os.close(follower)
    seen = b''
    try:
        while piece := os.read(leader, 10_000):
            seen += piece
    except OSError:  # how a terminal tells that all have left it
        pass
    os.close(leader)
    assert process.wait() == 0
    text = seen.decode()
    assert '4/4 |' in text
    assert 'loss 0.25, lr 0.1, step 0.20 s, data 0.10 s, ' in text
    assert re.search(r'a message\s*$', text, re.MULTILINE)
    assert 's/step' not in text  # that is in the log
    lines = log_lines(tmp_path)
    assert ['iteration' in line for line in lines] == [True, True, False]


def test_skipped_steps_are_told_once_an_interval(tmp_path, caplog):
    with RunLogger(tmp_path, log_interval=3, max_iter=9, active=True) as logger:
        for i in range(1, 8):
            if i in (1, 3, 7):
                logger.skipped(i, 2.0**-i)
            logger.step(i, 1.0, 0.01, 0.1, 0.4)
    told = [record.getMessage() for record in caplog.records if record.levelname == 'WARNING']
    assert [text.split(' were')[0] for text in told] == [
        '2 of the last 3 iterations, most recently 3,',
        '1 of the last 1 iterations, most recently 7,',
    ]
    assert told[0].endswith('overflowed in half precision; the loss scale is now 0.125')
