"""The automatic choice of a backend, and its fallbacks."""

import numpy as np
import pytest

from engine.backends import auto, select
from engine.backends.auto import AutoBackend
from engine.backends.nnabla import NnablaBackend
from engine.backends.settings import BackendSettings
from support import backend_runs
from support.backend_runs import CPU, EXPORTS, create_backend, random_input


class Stub:
    """A stand-in for an exported backend: records shapes, runs out of memory for ``too_large``."""

    used, threads = frozenset({'stub'}), 3

    def __init__(self, known=(), too_large=()):
        self.shapes, self.known, self.too_large = [], known, too_large

    def is_ready(self, shape):
        return shape in self.shapes or shape in self.known

    def reserve(self, shapes):
        pass

    def run(self, x):
        if x.shape in self.too_large:
            raise MemoryError
        self.shapes.append(x.shape)
        return x

    def close(self):
        self.shapes.clear()


def test_auto_compiles_the_first_shape_and_recurring_shapes(tiny):
    x = [random_input(tiny, 32, 32 + 4 * i) for i in range(4)]
    stub = Stub(known=[x[3].shape])
    made = AutoBackend([lambda: stub], tiny.backend)
    for i in (0, 1, 2):
        made.run(x[i])
    assert set(stub.shapes) == {x[0].shape}
    assert made.used == {'stub', 'nnabla'}
    made.run(x[1])
    assert set(stub.shapes) == {x[0].shape, x[1].shape}
    made.run(x[3])  # cached by an earlier process
    assert set(stub.shapes) == {x[0].shape, x[1].shape, x[3].shape}


def test_auto_compiles_for_a_single_large_input(tiny, small_parts, monkeypatch, log):
    """NNabla would need longer than compiling takes."""
    stub = Stub()
    made = AutoBackend([lambda: stub], tiny.backend)
    small, large, other = (random_input(tiny, *s) for s in ((32, 32), (150, 97), (20, 20)))
    made.run(small)
    made.run(large)
    assert stub.shapes == [small.shape]
    monkeypatch.setattr(auto, 'MAX_NNABLA_SECONDS', 0)
    large = random_input(tiny, 151, 97)
    made.run(large)
    made.run(other)
    assert stub.shapes == [small.shape, large.shape]
    (line,) = log.messages
    assert line.startswith('compiling for 151x97, as NNabla would take ')


def test_auto_falls_back_to_nnabla_when_exports_disagree(tiny, disk_cache, perturbed, log):
    made, x = create_backend('auto', tiny, disk_cache), random_input(tiny)
    assert np.array_equal(made.run(x), tiny.backend.run(x))
    assert made.used == {'nnabla'}
    assert [r.levelname for r in log.records].count('WARNING') == 2  # one for each backend
    made.run(x)
    assert [r.levelname for r in log.records].count('WARNING') == 2


def test_auto_falls_back_when_a_run_fails(tiny, disk_cache, log):
    made, x = create_backend('auto', tiny, disk_cache), random_input(tiny)
    expected = tiny.backend.run(x)
    made.run(x)
    for failing, following in ((EXPORTS[0], EXPORTS[1]), (EXPORTS[1], 'nnabla')):
        assert failing in made.used
        log.clear()
        backend_runs.replace_model_by_another_shape(made._backend, x.shape)
        np.testing.assert_allclose(made.run(x), expected, rtol=1e-4, atol=1e-4)
        (line,) = (r.getMessage() for r in log.records if r.levelname == 'WARNING')
        assert line.startswith(f'{failing} failed at 64x96 (')
        assert line.endswith('); trying the next backend')
        assert following in made.used
    log.clear()
    assert np.array_equal(made.run(x), expected)
    assert not log.records


def test_nnabla_computes_shapes_that_are_too_large_for_an_export(tiny, log):
    """One warning is logged; the export still computes all other shapes."""
    x, small = random_input(tiny), random_input(tiny, 32, 32)
    stub = Stub(too_large=[x.shape])
    made = AutoBackend([lambda: stub], tiny.backend)
    for _ in range(2):
        assert np.array_equal(made.run(x), tiny.backend.run(x))
    for _ in range(2):
        made.run(small)
    assert stub.shapes == [small.shape]
    assert log.messages == ['stub: not enough memory for 64x96; NNabla computes it']


def test_an_input_that_is_too_large_for_all_abandons_no_backend(tiny):
    def no_memory(*args):
        raise RuntimeError('memory error in malloc\nFailed to allocate 10 GB')

    x, small = random_input(tiny), random_input(tiny, 32, 32)
    stub = Stub(too_large=[x.shape])
    made = AutoBackend([lambda: stub], NnablaBackend(no_memory))
    with pytest.raises(MemoryError, match='Failed to allocate 10 GB'):
        made.run(x)
    made.run(small)
    assert stub.shapes == [small.shape]


def test_nnabla_graphs_are_released_after_use(tiny, disk_cache):
    """Graphs of the comparison, and of shapes that are not compiled yet."""
    dropped = []
    made = select.create(
        BackendSettings(), tiny.network, CPU, lambda: dropped.append(1), disk_cache
    )
    first, second = random_input(tiny), random_input(tiny, 32, 32)
    for x, expected in ((first, {'openvino'}), (second, {'openvino', 'nnabla'})):
        made.run(x)
        assert made.used == expected
        assert not made._nnabla._graphs
    assert len(dropped) == 4  # before a graph is built and after its release
    made.run(second)
    assert len(dropped) == 6
    assert not made._nnabla._graphs
