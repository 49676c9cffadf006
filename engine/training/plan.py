"""What all parts of a training are made from, and which device each process takes."""

import os
from dataclasses import dataclass

from common.errors import UserError
from engine.config import Config
from engine.device import context
from engine.device.context import DeviceChoice
from engine.distributed.processes import Processes
from engine.training.settings import TrainingSettings


@dataclass(frozen=True)
class TrainingPlan:
    """The settings of a training, the config with all that follows from it, and where it runs."""

    settings: TrainingSettings
    config: Config
    seed: int
    processes: Processes
    choice: DeviceChoice

    @property
    def options(self) -> dict[str, str]:
        """The options that change numbers, as :class:`engine.runs.checkpoints.TrainingState` keeps
        them.
        """
        flags = 'tf32', 'channel_last', 'no_sync_bn', 'skip_bad'
        return {'-c': self.choice.name, '-t': self.choice.type_config} | {
            f'--{flag.replace("_", "-")}': 'on' if getattr(self.settings, flag) else 'off'
            for flag in flags
        }

    def __str__(self) -> str:
        given = [
            name if value == 'on' else f'{name} {value}'
            for name, value in self.options.items()
            if value != 'off'
        ]
        size = self.processes.size
        return f'by {size} process{"es" if size > 1 else ""} with {" ".join(given)}'


def choose_context(settings: TrainingSettings, processes: Processes) -> DeviceChoice:
    """Make the context the default; each process of a machine has a GPU of its own.

    Raises:
        UserError: The context does not work, or cannot have the settings' layout.
    """
    device = settings.device
    choice = context.use(
        device.context, device.type_config, processes.local_rank, tf32=settings.tf32
    )
    if settings.channel_last and choice.name == 'cpu':
        raise UserError('--channel-last: the CPU computes in (N, C, H, W) only; it needs a GPU')
    return choice


def places(plan: TrainingPlan) -> list[str]:
    """Return a line on each process.

    Raises:
        UserError: Not all processes compute on the same kind of device.
    """
    processes, choice = plan.processes, plan.choice
    found = processes.gather((str(processes), os.getpid(), choice))
    if len({choice.name for _, _, choice in found}) > 1:
        on_cpu = '; '.join(f'{who} is {own}' for who, _, own in found if own.name == 'cpu')
        raise UserError(f'only some processes have a GPU: {on_cpu}; mend that, or take -c cpu')
    return [f'{who}, process {number}: {own}' for who, number, own in found]
