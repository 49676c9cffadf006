"""Layers compared with brute force, OpenCV and PyTorch's definitions."""

from dataclasses import replace

import cv2
import nnabla as nn
import nnabla.functions as F
import nnabla.initializer as I
import numpy as np
import pytest

from layers import functions as L
from layers.build import RECOMPUTE_POLICIES
from support import stand_ins


def variable(*shape, seed=0):
    values = np.random.RandomState(seed).randn(*shape).astype(np.float32)
    return nn.Variable.from_numpy_array(values, need_grad=True)


@pytest.mark.parametrize('kernel, stride, dilation', [(1, 1, 1), (3, 1, 1), (3, 2, 1), (3, 1, 4)])
def test_convolution_is_padded_to_keep_the_size(kernel, stride, dilation):
    x = variable(2, 3, 9, 13)
    y = L.convolution(x, 4, kernel, 'c', L.Build(), stride=stride, dilation=dilation)
    stand_ins.randomize_parameters()
    y.forward()
    weights = nn.get_parameters()['c/conv/W'].d
    bias = nn.get_parameters()['c/conv/b'].d
    pad = dilation * (kernel // 2)
    padded = np.pad(x.d, [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    expected = np.zeros((2, 4, -(-9 // stride), -(-13 // stride))) + bias[:, None, None]
    for row in range(expected.shape[2]):
        for column in range(expected.shape[3]):
            top, left = row * stride, column * stride
            reach = dilation * (kernel - 1) + 1
            window = padded[:, :, top : top + reach : dilation, left : left + reach : dilation]
            expected[:, :, row, column] += np.einsum('ncij,ocij->no', window, weights)
    assert y.shape == expected.shape
    assert y.d == pytest.approx(expected, abs=1e-5)


def test_average_pool_drops_incomplete_windows():
    x = variable(1, 2, 7, 5)
    y = L.average_pool(x, 2, L.Build())
    y.forward()
    expected = x.d[:, :, :6, :4].reshape(1, 2, 3, 2, 2, 2).mean((3, 5))
    assert y.d == pytest.approx(expected, abs=1e-6)


def test_max_pool_ignores_its_padding():
    x = variable(1, 2, 7, 6)
    y = L.max_pool(x, 3, 2, L.Build())
    y.forward()
    padded = np.pad(x.d, [(0, 0), (0, 0), (1, 1), (1, 1)], constant_values=-np.inf)
    expected = [
        [padded[..., i : i + 3, j : j + 3].max((2, 3)) for j in (0, 2, 4)] for i in (0, 2, 4, 6)
    ]
    assert np.array_equal(y.d, np.array(expected).transpose(2, 3, 0, 1))


@pytest.mark.parametrize('size', [(31, 57), (5, 7), (13, 9), (9, 1000)])
def test_resize_equals_opencv(size):
    x = variable(1, 3, 9, 13)
    y = L.resize(x, size)
    y.forward()
    expected = cv2.resize(x.d[0].transpose(1, 2, 0), size[::-1], interpolation=cv2.INTER_LINEAR)
    assert y.shape[2:] == size
    assert y.d[0].transpose(1, 2, 0) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize('size', [(1, 13), (9, 1), (1, 1)])
def test_resize_refuses_sizes_for_which_nnabla_is_wrong(size):
    with pytest.raises(ValueError, match=f'9x13 to {size[0]}x{size[1]}'):
        L.resize(variable(1, 3, 9, 13), size)


def test_resize_to_the_same_size_returns_its_input():
    x = variable(1, 3, 9, 13)
    assert L.resize(x, (9, 13)) is x


@pytest.mark.parametrize('how', ['bilinear', 'bilinear_corners', 'nearest'])
def test_resize_to_the_same_size_copies_if_batch_norms_are_synchronized(how):
    """The copy changes no bit of the values or of the gradient."""
    twins = type('Twins', (), {'size': 2, 'nnabla': None})()
    x = variable(2, 3, 9, 13)
    x.need_grad = True
    y = L.resize(x, (9, 13), L.Build(train=True, communicator=twins), how)
    assert y.parent.info.type_name == 'Interpolate'
    y.forward()
    assert np.array_equal(y.d, x.d)
    gradient = np.random.RandomState(1).randn(*y.shape).astype(np.float32)
    x.grad.zero()
    y.backward(gradient)
    assert np.array_equal(x.g, gradient)


@pytest.mark.parametrize('size', [1, 2, 1000, 2 * 1031, 1031, 1048583, 3 * 512 * 1024])
def test_mean_all(size):
    """1031 and 1048583 are prime: they cannot be folded."""
    x = variable(size)
    mean = L.mean_all(x)
    mean.forward()
    assert mean.shape == (1,)
    assert mean.d.item() == pytest.approx(x.d.mean(dtype=np.float64), abs=1e-6)
    x.g = 0
    mean.backward()
    np.testing.assert_allclose(x.g, 1 / size, rtol=1e-5)


@pytest.mark.parametrize('length', [1, 6, 1031, 3 * 1031])
def test_row_means(length):
    x = variable(3, length)
    means = L.row_means(x)
    means.forward()
    np.testing.assert_allclose(means.d, x.d.mean(axis=1, dtype=np.float64), atol=1e-6)
    x.g = 0
    means.backward(np.array([1, 2, 4]))
    np.testing.assert_allclose(x.g, np.array([[1], [2], [4]]) / length * np.ones(length), 1e-5)


def test_mean_all_uses_no_reduction_that_fails_on_hopper():
    """On Hopper GPUs a mean works if it reduces fewer than 2048 values to each output value."""
    steps = []
    L.mean_all(variable(8 * 512 * 1024)).visit(steps.append)
    means = [f for f in steps if f.info.type_name == 'Mean']
    assert means
    assert all(f.inputs[0].size // f.outputs[0].size < 2048 for f in means)
    assert {f.info.type_name for f in steps} <= {'Mean', 'Reshape'}


@pytest.mark.parametrize('train', [False, True])
def test_fused_bn_relu_equals_both_functions(train):
    x = variable(2, 4, 6, 5)
    plain = L.bn_relu(x, 'a', L.Build(train=train))
    fused = L.bn_relu(x, 'b', L.Build(train=train, cuda=True))
    nn.forward_all([plain, fused])
    tolerance = 2e-6 if train else 0  # NNabla rounds batch statistics differently
    assert plain.d == pytest.approx(fused.d, abs=tolerance)
    parameters = nn.get_parameters(grad_only=False)
    for name in ('beta', 'gamma', 'mean', 'var'):
        own, other = (parameters[f'{layer}/bn/{name}'].d for layer in 'ab')
        assert own == pytest.approx(other, abs=tolerance)


@pytest.mark.parametrize('cuda', [False, True])
def test_bn_relu6_clips_batch_norm_to_0_and_6(cuda):
    x = variable(2, 4, 6, 5)
    build = L.Build(cuda=cuda, recompute='bn_relu')
    y, linear = L.bn_relu6(x, 'a', build, gamma=9.0), L.batch_norm(x, 'a', L.Build())
    assert y.parent.inputs[0].recompute
    nn.forward_all([y, linear])
    assert linear.d.min() < 0
    assert linear.d.max() > 6
    assert np.array_equal(y.d, linear.d.clip(0, 6))


def test_networks_use_fused_functions_on_a_gpu(monkeypatch):
    x = nn.Variable((1, 3, 32, 32))

    def fused_functions():
        names = []
        stand_ins.tiny()(x)[0].visit(lambda f: names.append(f.info.type_name))
        return names.count('FusedBatchNormalization'), names.count('ReLU')

    assert fused_functions()[0] == 0
    nn.set_default_context(nn.Context(['cudnn:float', 'cpu:float'], 'CpuCachedArray', '0'))
    assert L.on_gpu()
    monkeypatch.setattr(L, 'on_gpu', lambda: True)
    nn.set_default_context(nn.Context(['cpu:float'], 'CpuCachedArray', '0'))
    fused, relu = fused_functions()
    assert fused > 0
    assert relu == 0


@pytest.mark.parametrize('groups, stride', [(2, 1), (3, 2), (6, 1), (6, 2)])
def test_grouped_and_depthwise_convolution(groups, stride):
    """Compared group by group; the CPU's depthwise function uses the weights of a grouped one."""
    x = variable(2, 6, 9, 7)
    forms = [
        L.convolution(x, 6, 3, 'c', L.Build(cuda=cuda), stride=stride, groups=groups, dilation=2)
        for cuda in (False, True)
    ]
    stand_ins.randomize_parameters()
    weights, bias = nn.get_parameters()['c/conv/W'], nn.get_parameters()['c/conv/b']
    size = 6 // groups
    assert weights.shape == (6, size, 3, 3)
    nn.forward_all(forms)
    for group in range(groups):
        own = slice(group * size, (group + 1) * size)
        expected = F.convolution(
            nn.Variable.from_numpy_array(x.d[:, own]),
            nn.Variable.from_numpy_array(weights.d[own]),
            nn.Variable.from_numpy_array(bias.d[own]),
            pad=(2, 2),
            stride=(stride, stride),
            dilation=(2, 2),
        )
        expected.forward()
        for form in forms:
            assert form.d[:, own] == pytest.approx(expected.d, abs=1e-5)


@pytest.mark.parametrize('size', [(12, 12), (13, 7), (6, 9)])
@pytest.mark.parametrize('bins', [1, 2, 3, 6])
@pytest.mark.parametrize('cuda', [False, True])
def test_adaptive_average_pool(size, bins, cuda):
    """Tile i reaches from floor(i n / bins) to ceil((i + 1) n / bins), as in PyTorch."""
    x = variable(2, 3, *size)
    y = L.adaptive_average_pool(x, bins, L.Build(cuda=cuda))
    for _ in range(2):  # a constant of the graph must survive a pass
        y.forward(clear_no_need_grad=True)
    assert y.shape == (2, 3, bins, bins)
    for i in range(bins):
        for j in range(bins):
            (top, bottom), (left, right) = (
                (int(np.floor(k * n / bins)), int(np.ceil((k + 1) * n / bins)))
                for k, n in zip((i, j), size)
            )
            expected = x.d[:, :, top:bottom, left:right].mean((2, 3), dtype=np.float64)
            assert y.d[:, :, i, j] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize('size', [(31, 57), (5, 7), (20, 9)])
def test_resize_with_aligned_corners_and_with_nearest_pixels(size):
    x = variable(1, 2, 9, 13)
    corners, nearest = L.resize(x, size, how='bilinear_corners'), L.resize(x, size, how='nearest')
    nn.forward_all([corners, nearest])
    rows, columns = (np.linspace(0, old - 1, new) for old, new in zip((9, 13), size))
    for row, position in enumerate(rows):
        above, share = min(int(position), 7), position - min(int(position), 7)
        line = x.d[0, :, above] * (1 - share) + x.d[0, :, above + 1] * share
        expected = [np.interp(columns, range(13), channel) for channel in line]
        assert corners.d[0, :, row] == pytest.approx(np.array(expected), abs=1e-5)
    picked = x.d[:, :, np.arange(size[0]) * 9 // size[0]][..., np.arange(size[1]) * 13 // size[1]]
    assert np.array_equal(nearest.d, picked)


def test_initial_values_of_biases_and_of_beta():
    x, start = variable(2, 3, 9, 13), I.UniformInitializer((0.5, 0.75))
    L.batch_norm(x, 'n', L.Build(), beta=1e-4)
    L.bn_relu(x, 'r', L.Build(), beta=2e-4)
    L.convolution(x, 40, 3, 'c', L.Build(), bias_initializer=start)
    values = {name: p.d for name, p in nn.get_parameters().items()}
    assert np.all(values['n/bn/beta'] == np.float32(1e-4))
    assert np.all(values['r/bn/beta'] == np.float32(2e-4))
    bias = values['c/conv/b']
    assert len(np.unique(bias)) > 30 and 0.5 <= bias.min() < bias.max() <= 0.75


@pytest.mark.parametrize('layout', [(1, 4, 1, 1), (1, 1, 1, 4)])
@pytest.mark.parametrize('norm', [L.batch_norm, L.bn_relu])
def test_batch_statistics_of_one_value_are_refused(norm, layout):
    """NNabla would write NaN into the running variance."""
    build = L.Build(train=True, channel_last=layout[-1] > 1)
    with pytest.raises(L.TooFewValues, match='a batch of at least 2'):
        norm(nn.Variable(layout), 'n', build)
    norm(nn.Variable((2, *layout[1:])), 'n', build)
    norm(nn.Variable(layout), 'n', L.Build(channel_last=build.channel_last))
    norm(nn.Variable(layout), 'n', replace(build, freeze_statistics=True))
    norm(nn.Variable(layout), 'n', replace(build, frozen=('n/*',)))


def test_batch_norm_updates_the_running_statistics_with_the_unbiased_variance():
    x = variable(2, 3, 4, 5)
    L.batch_norm(x, 'n', L.Build(train=True), decay_rate=0.9).forward()
    running = nn.get_parameters(grad_only=False)
    values = x.d.transpose(1, 0, 2, 3).reshape(3, -1)
    assert running['n/bn/mean'].d.ravel() == pytest.approx(0.1 * values.mean(1), abs=1e-6)
    variance = 0.9 + 0.1 * values.var(1, ddof=1)
    assert running['n/bn/var'].d.ravel() == pytest.approx(variance, abs=1e-6)


@pytest.mark.parametrize('policy', [p for p in RECOMPUTE_POLICIES if p != 'none'])
def test_recomputation_changes_no_bit(policy):
    kept = training_step('none')
    recomputed = training_step(policy)
    assert kept.keys() == recomputed.keys()
    for name in kept:
        assert np.array_equal(kept[name], recomputed[name]), name


def training_step(policy):
    """Return gradients and running statistics after one step of a tiny D3Net."""
    nn.clear_parameters()
    x = variable(2, 3, 32, 48)
    logits = stand_ins.tiny()(x, train=True, recompute=policy)[0]
    stand_ins.randomize_parameters()
    marked = []
    logits.visit(lambda f: marked.extend(o.recompute for o in f.outputs))
    assert any(marked) == (policy != 'none')
    loss = L.mean_all(F.pow_scalar(logits, 2))
    for parameter in nn.get_parameters().values():
        parameter.grad.zero()
    loss.forward(clear_no_need_grad=True)
    loss.backward(clear_buffer=True)
    results = {f'{name}.g': p.g.copy() for name, p in nn.get_parameters().items()}
    assert all(np.abs(gradient).sum() > 0 for gradient in results.values())
    return results | {n: p.d.copy() for n, p in nn.get_parameters(grad_only=False).items()}


def test_an_unknown_recompute_policy_names_the_known_ones():
    with pytest.raises(ValueError, match="'all'.*none, bn_relu, convolution, blocks"):
        L.Build(recompute='all')


def test_swish_and_sigmoid():
    x = variable(2, 3, 4, 5)
    swish, sigmoid = L.swish(x, L.Build()), L.sigmoid(x)
    nn.forward_all([swish, sigmoid])
    share = 1 / (1 + np.exp(-x.d.astype(np.float64)))
    assert sigmoid.d == pytest.approx(share, abs=1e-6)
    assert swish.d == pytest.approx(x.d * share, abs=1e-6)


@pytest.mark.parametrize('size', [1, 2, 3])
def test_space_to_depth_orders_by_channel_row_and_column(size):
    x = variable(2, 3, 6, 12)
    y = L.space_to_depth(x, size, L.Build())
    build = L.Build(channel_last=True)
    last = L.from_layout(L.space_to_depth(L.to_layout(x, build), size, build), build)
    nn.forward_all([y, last])
    assert y.shape == (2, 3 * size**2, 6 // size, 12 // size)
    for channel in range(3):
        for row in range(size):
            for column in range(size):
                own = y.d[:, (channel * size + row) * size + column]
                assert np.array_equal(own, x.d[:, channel, row::size, column::size])
    assert np.array_equal(y.d, last.d)


def test_space_to_depth_needs_whole_tiles():
    with pytest.raises(ValueError, match='6x13 cannot be cut into tiles of 2x2'):
        L.space_to_depth(variable(1, 3, 6, 13), 2, L.Build())


def test_with_gamma_0_a_block_starts_as_its_shortcut():
    x = variable(2, 3, 4, 5)
    y = L.batch_norm(x, 'n', L.Build(train=True), gamma=0)
    y.forward()
    assert not y.d.any()
