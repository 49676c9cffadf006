"""Layers of networks with several inputs and several tasks."""

import nnabla as nn
import nnabla.functions as F
import numpy as np
import pytest

from layers import functions as L
from layers import tasks


def variable(*shape, need_grad=False):
    values = np.random.RandomState(0).randn(*shape).astype(np.float32)
    return nn.Variable.from_numpy_array(values, need_grad=need_grad)


@pytest.mark.parametrize('channel_last', [False, True])
def test_pictures_are_split_in_their_order(channel_last):
    build = L.Build(channel_last=channel_last)
    x = variable(2, 6, 4, 5)
    pictures = tasks.split_pictures(L.to_layout(x, build), 2, build)
    pictures = [L.from_layout(picture, build) for picture in pictures]
    nn.forward_all(pictures)
    assert np.array_equal(np.concatenate([p.d for p in pictures], axis=1), x.d)


def test_taps_hold_the_gradient_of_each_task_alone():
    taps = {}
    x = variable(1, 2, 3, 3, need_grad=True)
    last = F.tanh(x)
    build = L.Build(task_taps=taps)
    losses = [scale * L.mean_all(tasks.tap(last, name, build)) for name, scale in zip('ab', (3, 5))]
    loss = losses[0] + losses[1]
    for _ in range(2):
        x.grad.zero()
        loss.forward(clear_no_need_grad=True)
        loss.backward(clear_buffer=True)
        assert list(taps) == ['a', 'b']
        assert taps['a'].g == pytest.approx(np.full(x.shape, 3 / x.size), rel=1e-6)
        assert taps['b'].g == pytest.approx(np.full(x.shape, 5 / x.size), rel=1e-6)
        assert x.g == pytest.approx(8 / x.size * (1 - np.tanh(x.d) ** 2), rel=1e-4)


@pytest.mark.parametrize('size', [1, 2])
def test_outputs_are_joined_only_if_batch_norms_are_synchronized(size):
    """No bit of values and gradients changes."""
    build = L.Build(train=True, communicator=type('Some', (), {'size': size, 'nnabla': None})())
    outputs = [variable(2, channels, 3, 4, need_grad=True) for channels in (1, 5, 2)]
    joined = tasks.join(outputs, build)
    assert (joined is outputs) == (size == 1)
    assert tasks.join(outputs[:1], build) == outputs[:1]
    for output in outputs:
        output.grad.zero()
    if size == 2:
        nn.forward_all(joined)
        assert all(np.array_equal(one.d, two.d) for one, two in zip(joined, outputs))
        loss = sum(scale * F.sum(output) for scale, output in zip((1, 2, 3), joined))
        loss.forward()
        loss.backward()
        assert [np.unique(output.g).tolist() for output in outputs] == [[1], [2], [3]]


def test_without_taps_the_graph_is_unchanged():
    x = variable(1, 2, 3, 3)
    assert tasks.tap(x, 'a', L.Build()) is x
    assert tasks.clamp(x, None) is x


def test_clamping_stops_the_gradient_outside_the_range():
    x = nn.Variable.from_numpy_array(np.float32([-1, 0.5, 2, 9]), need_grad=True)
    y = tasks.clamp(x, (0.25, 2.5))
    y.forward()
    x.grad.zero()
    y.backward()
    assert y.d.tolist() == [0.25, 0.5, 2, 2.5]
    assert x.g.tolist() == [0, 1, 1, 0]
