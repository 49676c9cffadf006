"""Find what is not finite any more in a training, and name it."""

from collections.abc import Mapping, Sequence

import nnabla as nn
import numpy as np

from common.errors import UserError
from engine.distributed.processes import Processes


class DivergedError(UserError):
    """The loss or the weights are not finite any more."""


def check_parameters(iteration: int) -> None:
    """Check all registered parameters after an iteration.

    Raises:
        DivergedError: One of them is not finite.
    """
    for name, parameter in nn.get_parameters(grad_only=False).items():
        if not np.isfinite(parameter.data.get_data('r')).all():
            raise DivergedError(f'the parameter {name} is not finite after iteration {iteration}')


def bad_gradient(parameters: Mapping[str, nn.Variable]) -> str:
    """Return the name of a parameter whose gradient is not finite; there must be one."""
    return next(name for name, p in parameters.items() if not np.isfinite(p.g).all())


def describe_loss(
    iteration: int, loss: float, files: Sequence[object], processes: Processes
) -> str:
    """Say which processes have a loss that is not finite, all of which must call this.

    Args:
        iteration: Counted from 1.
        loss: Of this process.
        files: The images that it is of.
        processes: All processes of the job.
    """
    reports = processes.gather(None if np.isfinite(loss) else (loss, files))
    where = '; '.join(
        f'rank {rank}: {report[0]} on {", ".join(map(str, report[1]))}'
        for rank, report in enumerate(reports)
        if report is not None
    )
    if not where:
        where = 'that of every process is, their sum is not'
    return f'the loss of iteration {iteration} is not finite ({where})'
