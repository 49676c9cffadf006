"""Train a network from its settings to its trained weights."""

from contextlib import ExitStack

from engine.distributed.processes import joined
from engine.training.prepare import prepare
from engine.training.settings import TrainingSettings


def train(settings: TrainingSettings) -> int:
    """Train as the settings say, in all processes of the job.

    Returns:
        The exit status: 0 at the end of the training, another when a signal has stopped it.

    Raises:
        UserError: The settings, the config or the data do not allow it, or it diverges.
    """
    with joined() as processes, ExitStack() as stack:
        with processes.log_on_rank_0():
            loop = prepare(settings, processes, stack)
        return loop.run()
