"""The description of the machine's GPUs from the output of nvidia-smi."""

import pytest

from common import machine


@pytest.fixture
def smi(monkeypatch):
    """The answers of nvidia-smi, pairs of an exit status and an output; the last one counts."""
    answers = []
    monkeypatch.setattr(machine, 'output_of', lambda command: answers[-1])
    return answers


def test_a_failing_driver_differs_from_a_missing_gpu(smi):
    smi.append((18, 'Failed to initialize NVML: Driver/library version mismatch\n'))
    assert 'nvidia-smi fails: Failed to initialize NVML' in machine.describe()['GPU']
    smi.append((machine.NOT_FOUND, ''))
    assert machine.describe()['GPU'] == 'none'


def test_an_unexpected_description_of_a_gpu_is_shown_unchanged(smi):
    smi.append((0, 'Some, other, answer\nName, with comma, 1 MiB, 2, 9.0\n'))
    assert machine.describe()['GPU'] == (
        'Some, other, answer, Name, with comma (1 MiB, driver 2, compute capability 9.0)'
    )
