"""OpenVINO: precisions that need a package or a CPU, threads, and cached models that it rejects."""

from importlib import metadata

import numpy as np
import pytest

from engine.backends import openvino
from engine.backends.errors import BackendError
from support.backend_runs import create_backend, random_input


def test_a_payload_that_openvino_rejects_is_compiled_again(tiny, disk_cache, log):
    x = random_input(tiny)
    made = create_backend('openvino', tiny, disk_cache)
    expected = made.run(x)
    key = made._key(x.shape)
    _, facts = disk_cache.read(key)
    disk_cache.write(key, b'another format', facts)
    assert np.array_equal(create_backend('openvino', tiny, disk_cache).run(x), expected)
    (line,) = (r.getMessage() for r in log.records if r.levelname == 'WARNING')
    assert line.startswith('openvino cannot load the cached model (')
    assert line.endswith('); compiling again')
    assert '\n' not in line


def test_int8_without_nncf_is_reported_with_the_pip_command(tiny, disk_cache, monkeypatch):
    def version(package):
        raise metadata.PackageNotFoundError(package)

    monkeypatch.setattr(openvino.metadata, 'version', version)
    with pytest.raises(BackendError, match='nncf is not installed: .* -r requirements-deploy.txt'):
        openvino.OpenVINO('int8')


def test_threads_reach_openvino(tiny, disk_cache):
    made = create_backend('openvino', tiny, disk_cache, threads=1)
    for _ in range(2):  # compiled, then loaded from the cache
        made.run(random_input(tiny))
        (model,) = made._models.values()
        assert model._compiled.get_property('INFERENCE_NUM_THREADS') == 1
        made = create_backend('openvino', tiny, disk_cache, threads=1)
