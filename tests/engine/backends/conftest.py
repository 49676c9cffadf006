"""Fixtures shared by the tests of backends."""

import logging

import nnabla as nn
import pytest

from datasets import image_files
from engine.backends import exported, part
from support.backend_runs import STREET


@pytest.fixture
def log(caplog):
    """The log, from level INFO on."""
    caplog.set_level(logging.INFO, 'nnseg')
    return caplog


@pytest.fixture
def small_parts(monkeypatch):
    """Make inputs of 150x97 pixels large: their part has 22x17."""
    for name, pixels in (('SIDE', 16), ('STEP', 8)):
        monkeypatch.setattr(part, name, pixels)


@pytest.fixture
def perturbed(monkeypatch):
    """Make exports contain slightly different weights."""
    export = exported.export_onnx

    def other(network, shape):
        parameter = next(iter(nn.get_parameters().values()))
        before = parameter.d.copy()
        parameter.d = before * 1.001
        try:
            return export(network, shape)
        finally:
            parameter.d = before

    monkeypatch.setattr(exported, 'export_onnx', other)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / 'photos' / 'some'
    folder.mkdir(parents=True)
    street = image_files.read_image(STREET)
    for i in range(6):
        image_files.write_image(folder / f'{i}.png', street[40 * i : 40 * i + 150, : 200 + i])
    return folder.parent
