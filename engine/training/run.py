"""Run a whole training in all processes of the job."""

from contextlib import ExitStack

from engine.distributed.processes import joined
from engine.training.prepare import prepare
from engine.training.settings import TrainingSettings


def train(settings: TrainingSettings) -> int:
    """Train a network in all processes of the job.

    Args:
        settings: Options and config of the training.

    Returns:
        The exit status: 0 at the end of the training, another one after a signal.

    Raises:
        UserError: Settings, config or data are invalid, or the training diverges.
    """
    with joined() as processes, ExitStack() as stack:
        with processes.log_on_rank_0():
            loop = prepare(settings, processes, stack)
        return loop.run()
