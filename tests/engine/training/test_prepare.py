"""The default number of loader workers."""

import os
from types import SimpleNamespace

import pytest

from engine.training.prepare import _default_loader_workers


@pytest.mark.parametrize(('cores', 'local', 'workers'), [(16, 1, 4), (16, 8, 2), (2, 4, 1)])
def test_loader_workers_share_the_cores_of_a_machine(cores, local, workers, monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: range(cores))
    monkeypatch.setenv('OMPI_COMM_WORLD_LOCAL_SIZE', '99')
    assert _default_loader_workers(SimpleNamespace(local_size=local)) == workers
