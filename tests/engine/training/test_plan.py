"""How a training is made from its options, for what takes several machines or GPUs."""

import os

import pytest

from common.errors import UserError
from engine.device.context import DeviceChoice
from engine.training import TrainingSettings
from engine.training.plan import TrainingPlan, places
from engine.training.prepare import _workers

CPU = DeviceChoice('cpu', 'float', 'no NVIDIA driver')


class Ranks:
    """Stands for the processes of a job."""

    def __init__(self, *choices, local_size=1):
        self.size, self.rank, self.local_size = len(choices), 0, local_size
        self._choices = choices

    def gather(self, value):
        return [
            (f'rank {rank} on host{rank}', 100 + rank, choice)
            for rank, choice in enumerate(self._choices)
        ]

    def __str__(self):
        return 'rank 0 on host0'


def plan(*choices, **options):
    """Of a job whose processes have chosen so."""
    return TrainingPlan(TrainingSettings(**options), {}, 0, Ranks(*choices), choices[0])


def test_all_processes_compute_on_the_same_kind_of_device():
    """Else some would wait over MPI, the others over NCCL."""
    assert places(plan(CPU, CPU)) == [
        f'rank {rank} on host{rank}, process {100 + rank}: running on the CPU (no NVIDIA driver)'
        for rank in (0, 1)
    ]
    with pytest.raises(UserError) as caught:
        places(plan(DeviceChoice('cudnn', 'float'), CPU, DeviceChoice('cudnn', 'float')))
    assert str(caught.value) == (
        'only some processes have a GPU: rank 1 on host1 is running on the CPU (no NVIDIA '
        'driver); mend that, or take -c cpu'
    )


def test_what_is_written_about_a_run():
    half = DeviceChoice('cudnn', 'half')
    made = plan(half, half, skip_bad=True, no_sync_bn=True)
    assert str(made) == 'by 2 processes with -c cudnn -t half --no-sync-bn --skip-bad'
    assert str(plan(CPU)) == 'by 1 process with -c cpu -t float'


@pytest.mark.parametrize(('cores', 'local', 'workers'), [(16, 1, 4), (16, 8, 2), (2, 4, 1)])
def test_the_processes_of_a_machine_share_its_cores(cores, local, workers, monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: range(cores))
    monkeypatch.setenv('OMPI_COMM_WORLD_LOCAL_SIZE', '99')
    assert _workers(Ranks(CPU, local_size=local)) == workers
