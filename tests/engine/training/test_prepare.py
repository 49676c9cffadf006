"""The default number of loader workers, and the log of what a training starts from."""

import logging
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

import models
from engine.training.prepare import _default_loader_workers, _log_initial_weights
from models.weights import LoadReport


@pytest.mark.parametrize(('cores', 'local', 'workers'), [(16, 1, 4), (16, 8, 2), (2, 4, 1)])
def test_loader_workers_share_the_cores_of_a_machine(cores, local, workers, monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: range(cores))
    monkeypatch.setenv('OMPI_COMM_WORLD_LOCAL_SIZE', '99')
    assert _default_loader_workers(SimpleNamespace(local_size=local)) == workers


def test_a_start_of_several_tasks_lists_copies_and_every_random_block(caplog):
    network = models.create('deeplabv3plus_mobilenetv2_tv_edgeailite', inputs=2)
    loaded = ['encoder/features/stream0/0/0/conv/W', 'encoder/features/stream1/0/0/conv/W']
    missing = [f'encoder/features/streamfuse/0/0/{leaf}' for leaf in ('conv/W', 'bn/gamma')]
    missing.append('decoders/0/aspp/aspp_out/0/conv/W')
    copied = dict.fromkeys(loaded, 'encoder/features/0/0/conv/W')
    with caplog.at_level(logging.INFO):
        _log_initial_weights(Path('a.h5'), LoadReport(loaded, missing, [], copied), network)
    assert [record.getMessage() for record in caplog.records] == [
        'a.h5: 2 pretrained parameters',
        '2 of them have other names in the file: its blocks go into each stream and decoder',
        '3 parameters keep their initial values: encoder/features/streamfuse (2), '
        'decoders/0/aspp (1)',
    ]
