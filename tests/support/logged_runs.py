"""Log runs of a few iterations, and read the records of a run."""

import re

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from engine.runs.logger import RunLogger

REPORT = {
    'miou': 41.25,
    'pixel_accuracy': 80.5,
    'classes': {
        'road / way': {'iou': 82.5, 'accuracy': 90.0, 'share': 60.0},
        'absent': {'iou': None, 'accuracy': None, 'share': 0.0},
    },
}


NO_SCORES = {'miou': None, 'pixel_accuracy': None, 'classes': {'absent': {'iou': None}}}


def train(folder, first, last, interval=10, **options):
    """Log some of 100 iterations, with the loss 1 / iteration and a validation every 20.

    Args:
        folder: The run folder.
        first: The first iteration.
        last: The last iteration.
        interval: Iterations that a line of the log averages.
        **options: Further arguments of :class:`RunLogger`.
    """
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
    """Read the TensorBoard events of a run."""
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return accumulator


def log_lines(folder):
    """Return the lines of train.log without their times, after a check of the times."""
    lines = (folder / 'train.log').read_text().splitlines()
    for line in lines:
        assert re.match(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z]+ ', line), line
    return [line[20:] for line in lines]
