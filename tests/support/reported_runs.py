"""Write the files of runs to report on."""

import numpy as np

from engine import config
from engine.runs import checkpoints
from engine.runs.logger import RunLogger
from engine.runs.run_folder import RunFolder


def train(path, first=1, last=30, total=1000, validations=True, best=60.0, **options):
    """Write the files of a run of ``total`` iterations; return its folder.

    The config has another ``max_iter``: the page must show the number from the log.

    Args:
        path: The folder.
        first: The first iteration.
        last: The last iteration.
        total: Number of iterations of the whole run.
        validations: Whether there is a validation every ten iterations.
        best: The best mIoU, at iteration 20.
        **options: Keys of the config, or ``settings`` and ``images`` of the validations.
    """
    folder = RunFolder(path)
    scored = {key: options.pop(key) for key in ('settings', 'images') if key in options}
    settings = config.load(
        overrides=['max_iter=500', *(f'{key}={value}' for key, value in options.items())]
    )
    folder.write_config(settings)
    with RunLogger(
        path, log_interval=10, max_iter=total, active=True, start_iteration=first - 1
    ) as logger:
        for i in range(first, last + 1):
            logger.step(i, 3 / i, 0.01, 0.01, 0.02)
            if validations and i % 10 == 0:
                scores = {'road': {'iou': 50.0 + i}, 'a|b': {'iou': None}}
                miou = best - (i - 20) ** 2 / 100
                report = {'miou': miou, 'pixel_accuracy': 80.0, 'classes': scores}
                logger.validation(i, {**report, **scored})
    return folder


def save_state(folder, iteration, seed=17, processes=4, size=600):
    """Save a training state with the facts that the page shows."""
    arrays = {'w': np.zeros((size, size), np.float32)}
    checkpoints.save(
        folder.state,
        checkpoints.TrainingState(
            iteration=iteration,
            parameters=arrays,
            solver=arrays,
            average=None,
            loader={},
            loss_scale=None,
            best={'miou': 60.0, 'iteration': 20},
            seed=seed,
            config={},
            processes=processes,
            options={'-t': 'float'},
            versions={'nnabla': '1.39.0', 'numpy': '1.26.4'},
            name='D3Net_L',
        ),
    )
