"""Find values that are not finite during a training, and name their source."""

from collections.abc import Mapping, Sequence

import nnabla as nn
import numpy as np

from common.errors import UserError
from engine.distributed.processes import Processes


class DivergedError(UserError):
    """Loss, gradients or weights are no longer finite."""


def check_parameters(iteration: int) -> None:
    """Check all registered parameters after an iteration.

    Raises:
        DivergedError: A parameter is not finite.
    """
    for name, parameter in nn.get_parameters(grad_only=False).items():
        if not np.isfinite(parameter.data.get_data('r')).all():
            raise DivergedError(f'the parameter {name} is not finite after iteration {iteration}')


def nonfinite_gradient(parameters: Mapping[str, nn.Variable]) -> str:
    """Return the name of the first parameter whose gradient is not finite; one must exist."""
    return next(name for name, p in parameters.items() if not np.isfinite(p.g).all())


def describe_loss(
    iteration: int,
    loss: float,
    files: Sequence[object],
    processes: Processes,
    tasks: Sequence[str] = (),
) -> str:
    """Return a message that names the ranks whose loss is not finite; all ranks must call this.

    Args:
        iteration: The iteration, counted from 1.
        loss: The loss of this process.
        files: The images that the loss was computed on.
        processes: All processes of the job.
        tasks: Names of the tasks whose loss is not finite in this process, if there are several.
    """
    found = f'{loss} (of {", ".join(tasks)})' if tasks else str(loss)
    reports = processes.gather(None if np.isfinite(loss) else (found, files))
    where = '; '.join(
        f'rank {rank}: {report[0]} on {", ".join(map(str, report[1]))}'
        for rank, report in enumerate(reports)
        if report is not None
    )
    if not where:
        where = 'the loss of each process is finite, their sum is not'
    return f'the loss of iteration {iteration} is not finite ({where})'
