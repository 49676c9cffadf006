"""A workspace holds the parameters and the context of one network for any thread."""

from concurrent.futures import ThreadPoolExecutor

import nnabla as nn
import numpy as np
import pytest

from layers.workspace import NNABLA_LOCK, Workspace
from support import stand_ins

OTHER = nn.Context(['cpu:float'], 'CpuArray', '0')


def test_it_keeps_the_scope_and_the_context_of_its_creation():
    with nn.parameter_scope('part'):
        kept = Workspace()
        nn.parameter.set_parameter('W', nn.Variable((2, 3), need_grad=True))
    with nn.context_scope(OTHER), nn.parameter_scope('elsewhere'):
        with kept.entered():
            assert list(nn.get_parameters()) == ['W']
            assert nn.get_current_context().array_class == 'CpuCachedArray'
        assert nn.get_current_context().array_class == 'CpuArray'
        assert not nn.get_parameters()


def test_networks_of_two_workspaces_share_nothing():
    spaces = [Workspace({}), Workspace({})]
    x = nn.Variable.from_numpy_array(np.ones((1, 3, 32, 32), np.float32))
    results = []
    for seed, space in enumerate(spaces):
        with space.entered():
            y = stand_ins.tiny()(x)[0]
            stand_ins.randomize_parameters(seed)
            results.append(y)
    assert not nn.get_parameters()
    values = [y.forward() or y.d.copy() for y in results]
    assert not np.array_equal(*values)


def test_a_graph_with_parameters_of_another_scope_is_refused():
    space, x = Workspace({}), nn.Variable((1, 3, 32, 32))
    with space.entered():
        space.check_graph(stand_ins.tiny()(x)[0])
        with nn.parameter_scope('', {}):  # as by another thread that does not wait for the lock
            foreign = stand_ins.tiny()(x)[0]
        with pytest.raises(RuntimeError, match='another thread has changed the parameter scope'):
            space.check_graph(foreign)


def test_an_error_inside_restores_the_scope_and_releases_the_lock():
    space = Workspace({})
    with pytest.raises(KeyError), space.entered():
        raise KeyError
    nn.set_default_context(nn.get_current_context())  # fails inside of a context_scope
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(NNABLA_LOCK.acquire, timeout=1).result()
        pool.submit(NNABLA_LOCK.release).result()
