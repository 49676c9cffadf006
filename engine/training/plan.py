"""Define the plan of a training: settings, config, seed, processes and device."""

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
    """The facts that all parts of a training share.

    Attributes:
        settings: The settings of the user.
        config: The effective config.
        seed: The seed of the run.
        processes: All processes of the job.
        choice: The device and precision of this process.
    """

    settings: TrainingSettings
    config: Config
    seed: int
    processes: Processes
    choice: DeviceChoice

    @property
    def options(self) -> dict[str, str]:
        """The options that change results.

        :class:`engine.runs.checkpoints.TrainingState` stores them.
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
    """Set NNabla's default context; each process of a machine uses its own GPU.

    Raises:
        UserError: The context does not work, or does not support the requested layout.
    """
    device = settings.device
    choice = context.use(
        device.context, device.type_config, processes.local_rank, tf32=settings.tf32
    )
    if settings.channel_last and choice.name == 'cpu':
        raise UserError('--channel-last: the CPU computes in (N, C, H, W) only; it needs a GPU')
    return choice


def describe_processes(plan: TrainingPlan) -> list[str]:
    """Return one line for each process of the job: its rank, process id and device.

    Raises:
        UserError: Some processes compute on a GPU, others on the CPU.
    """
    processes, choice = plan.processes, plan.choice
    found = processes.gather((str(processes), os.getpid(), choice))
    if len({choice.name for _, _, choice in found}) > 1:
        on_cpu = '; '.join(f'{who} is {own}' for who, _, own in found if own.name == 'cpu')
        raise UserError(
            f'only some processes have a GPU: {on_cpu}; repair their GPUs, or use -c cpu'
        )
    return [f'{who}, process {number}: {own}' for who, number, own in found]
