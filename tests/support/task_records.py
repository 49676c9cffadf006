"""Write the records of runs with a depth and a motion task."""

from engine.runs.logger import RunLogger

TASKS = ('depth', 'motion')


def report_of(ard, miou):
    """Return the report of a validation; both scores in percent, None if undefined."""
    depth = dict.fromkeys(('squared_relative', 'rmse', 'rmse_log'), 1.5)
    depth |= dict.fromkeys(('delta1', 'delta2', 'delta3'), 75.0)
    known = [score for score in (None if ard is None else 100 - ard, miou) if score is not None]
    return {
        'tasks': {
            'depth': {'kind': 'depth', 'ard': ard, **depth},
            'motion': {
                'kind': 'classes',
                'miou': miou,
                'pixel_accuracy': 90.0,
                'classes': {'static': {'iou': 95.0}, 'moving': {'iou': None}},
            },
        },
        'score': sum(known) / len(known) if known else None,
        'score_weights': {'depth': 1.0, 'motion': 1.0},
        'images': 5,
    }


def train(folder, first=1, last=30, learned=True, **options):
    """Log iterations of 100: losses that fall, and a validation every ten iterations."""
    with RunLogger(
        folder,
        log_interval=10,
        max_iter=100,
        active=True,
        start_iteration=first - 1,
        tasks=TASKS,
        **options,
    ) as logger:
        for i in range(first, last + 1):
            losses = {'depth': 2 / i, 'motion': 1 / i}
            scales = {'depth': 1 + i / 100, 'motion': 2 - i / 100} if learned else {}
            logger.step(i, 3 / i, 0.01, 0.1, 0.4, losses, scales)
            if i % 10 == 0:
                logger.validation(i, report_of(50.0 - i, 40.0 + i))
        return logger.state()
