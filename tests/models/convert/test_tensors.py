"""Tensors stay within their storages."""

import numpy as np
import pytest

from support.checkpoint_writer import Checkpoint, view
from support.conversions import assert_refused


@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize(
    ('offset', 'shape', 'strides'),
    [
        (0, (25,), (1,)),
        (1, (24,), (1,)),
        (0, (2, 12), (13, 1)),
        (0, (2,), (24,)),
        (1 << 62, (1,), (1,)),
        (0, (1 << 62, 1 << 62), (0, 0)),
        (0, (1 << 40, 2), (0, 0)),
    ],
)
def test_a_tensor_beyond_its_storage_is_refused(tmp_path, offset, shape, strides, legacy):
    checkpoint = Checkpoint()
    tree = {'a': view(checkpoint.storage(np.arange(24)), offset, shape, strides)}
    assert_refused(checkpoint.save(tmp_path / 'a.pth', tree, legacy), 'reaches beyond its storage')


@pytest.mark.parametrize(
    ('offset', 'shape', 'strides'),
    [
        (-1, (2,), (1,)),
        (23, (2,), (-1,)),
        (0, (-2, -3), (1, 1)),
        (0, (2, 3), (1,)),
        (0.5, (2,), (1,)),
        (0, (2.0,), (1,)),
        (0, (True,), (1,)),
        (0, (1,) * 40, (1,) * 40),
        (0, 'ab', 'cd'),
    ],
)
def test_invalid_shapes_strides_and_offsets_are_refused(tmp_path, offset, shape, strides):
    checkpoint = Checkpoint()
    tree = {'a': view(checkpoint.storage(np.arange(24)), offset, shape, strides)}
    assert_refused(checkpoint.save(tmp_path / 'a.pth', tree), 'invalid shape, strides or offset')
