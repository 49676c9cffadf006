"""The plan of a training for several machines and GPUs, by stand-ins for the processes."""

import pytest

from common.errors import UserError
from engine.device.context import DeviceChoice
from engine.training import TrainingSettings
from engine.training.plan import TrainingPlan, describe_processes

CPU = DeviceChoice('cpu', 'float', 'no NVIDIA driver')


class Ranks:
    """A stand-in for the processes of a job."""

    def __init__(self, *choices):
        self.size, self.rank = len(choices), 0
        self._choices = choices

    def gather(self, value):
        return [
            (f'rank {rank} on host{rank}', 100 + rank, choice)
            for rank, choice in enumerate(self._choices)
        ]

    def __str__(self):
        return 'rank 0 on host0'


def plan(*choices, **options):
    """Create the plan of a job whose processes have these devices."""
    return TrainingPlan(TrainingSettings(**options), {}, 0, Ranks(*choices), choices[0])


def test_processes_on_different_kinds_of_devices_are_refused():
    """Some of them would communicate over MPI, the others over NCCL."""
    assert describe_processes(plan(CPU, CPU)) == [
        f'rank {rank} on host{rank}, process {100 + rank}: running on the CPU (no NVIDIA driver)'
        for rank in (0, 1)
    ]
    with pytest.raises(UserError) as caught:
        describe_processes(
            plan(DeviceChoice('cudnn', 'float'), CPU, DeviceChoice('cudnn', 'float'))
        )
    assert str(caught.value) == (
        'only some processes have a GPU: rank 1 on host1 is running on the CPU (no NVIDIA '
        'driver); repair their GPUs, or use -c cpu'
    )


def test_the_description_of_a_run():
    half = DeviceChoice('cudnn', 'half')
    made = plan(half, half, skip_bad=True, no_sync_bn=True)
    assert str(made) == 'by 2 processes with -c cudnn -t half --no-sync-bn --skip-bad'
    assert str(plan(CPU)) == 'by 1 process with -c cpu -t float'
