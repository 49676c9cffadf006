"""Unpublished members of the D3Net family, compared with an independent computation.

The tests compute the network in float64 with NumPy only, from the paper and the notes on the
reference: one multidilated convolution after the other with all its groups.
"""

import nnabla as nn
import numpy as np
import pytest

from support import stand_ins


class NumpyD3Net:
    """D3Net in NumPy, from the registered parameters by their published names."""

    def __init__(self, hyper):
        self.hyper = hyper
        self.values = {
            name: p.d.astype(np.float64) for name, p in nn.get_parameters(grad_only=False).items()
        }

    def convolution(self, x, name, stride=1, dilation=1):
        weights = self.values[f'{name}/conv/W']
        kernel, (height, width) = weights.shape[2], x.shape[1:]
        pad = dilation * (kernel // 2)
        padded = np.pad(x, [(0, 0), (pad, pad), (pad, pad)])
        total = np.zeros((weights.shape[0], -(-height // stride), -(-width // stride)))
        for row in range(kernel):
            for column in range(kernel):
                top, left = row * dilation, column * dilation
                part = padded[:, top : top + height : stride, left : left + width : stride]
                total += np.einsum('oc,chw->ohw', weights[:, :, row, column], part)
        return total + self.values.get(f'{name}/conv/b', np.zeros(1))[:, None, None]

    def bn_relu(self, x, name):
        mean, var, gamma, beta = (
            self.values[f'{name}/bn/{key}'][0] for key in ('mean', 'var', 'gamma', 'beta')
        )
        return np.maximum((x - mean) / np.sqrt(var + 1e-5) * gamma + beta, 0)

    def unit(self, x, name, dilation=1):
        name = f'{name}/bottle_neck'
        return self.convolution(self.bn_relu(x, f'{name}/norm1'), f'{name}/conv1', 1, dilation)

    def d2_block(self, x, name, stage):
        k, layers = self.hyper['dens_k'][stage], self.hyper['num_layers'][stage]
        inside = f'{name}/d2block'
        if len(x) > 4 * k:
            x = self.unit(x, f'{inside}/initial_layer/bc_layer')
        # Layer i receives each earlier layer j in its own group of channels, with dilation 2**j.
        sums = np.split(self.unit(x, f'{inside}/initial_layer/init_layer'), layers)
        for j in range(1, layers):
            skips = np.split(self.unit(sums[j - 1], f'{inside}/layers/layer{j}', 2**j), layers - j)
            for i in range(j, layers):
                sums[i] = sums[i] + skips[i - j]
        x = np.concatenate(sums[layers - self.hyper['dense_n_out_layer_block'][stage] :])
        reduction = f'{name}/block_dim_reduction'
        return self.convolution(self.bn_relu(x, f'{reduction}/norm1'), f'{reduction}/conv1')

    def __call__(self, x):
        x = self.bn_relu(self.convolution(x, 'backbone/conv1', 2), 'backbone/bn1')
        x = self.convolution(x, 'backbone/conv2', 2)
        features, last = [], len(self.hyper['n_blocks'])
        for stage, blocks in enumerate(self.hyper['n_blocks']):
            for block in range(blocks):
                name = f'backbone/dense{stage + 1}/d2_block/block{block}'
                x = np.concatenate([x, self.d2_block(x, name, stage)])
            kind = 'final' if stage + 1 == last else 'intermediate'
            side = f'backbone/{kind}_out{stage + 1}'
            features.append(self.bn_relu(self.convolution(x, f'{side}/0'), f'{side}/1'))
            if stage + 1 < last:
                name = f'backbone/transition{stage + 1}'
                x = self.convolution(self.bn_relu(x, f'{name}/bn'), f'{name}/conv')
                height, width = (side // 2 for side in x.shape[1:])
                tiles = x[:, : 2 * height, : 2 * width].reshape(len(x), height, 2, width, 2)
                x = tiles.mean((2, 4))
        x = np.concatenate([resize(f, features[0].shape[1:]) for f in features])
        x = self.bn_relu(self.convolution(x, 'decode_head/convs/0/conv'), 'decode_head/convs/0/bn')
        return self.convolution(x, 'decode_head/conv_seg')


def resize(x, size):
    """Resize bilinearly, with pixel centres at half integers."""
    for axis, length in enumerate(size, 1):
        old = x.shape[axis]
        at = np.clip((np.arange(length) + 0.5) * old / length - 0.5, 0, old - 1)
        low = np.minimum(at.astype(int), max(old - 2, 0))
        shape = [1, 1, 1]
        shape[axis] = length
        share = (at - low).reshape(shape)
        high = np.minimum(low + 1, old - 1)
        x = np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share
    return x


@pytest.mark.parametrize(
    'changes',
    [
        {},
        {'dense_n_out_layer_block': [1, 2], 'trans_comp_factor': 3, 'num_classes': 1},
        {'num_layers': [1, 5], 'dense_n_out_layer_block': [1, 3], 'dens_k': [3, 2]},
        {
            'n_blocks': [1, 2, 1],
            'num_layers': [4, 3, 2],
            'dens_k': [3, 2, 5],
            'block_comp': [0.4, 1.5, 0.3],
            'intermediate_out_ch': [2, 3, 4],
            'dense_n_out_layer_block': [2, 3, 1],
        },
    ],
)
def test_a_member_equals_the_independent_computation(changes):
    network = stand_ins.tiny(**changes)
    x = np.random.RandomState(0).randn(1, 3, 37, 50).astype(np.float32)
    logits = network(nn.Variable.from_numpy_array(x))[0]
    stand_ins.randomize_parameters()
    logits.forward()
    expected = NumpyD3Net(network.hyper)(x[0].astype(np.float64))
    assert logits.d[0].shape == expected.shape
    assert abs(logits.d[0] - expected).max() <= 1e-5 * expected.std()


def test_initial_weights_are_those_of_the_original():
    """Uniform by NNabla's default in the backbone; normal with 0.01 in the head; biases zero."""
    stand_ins.tiny(channels=200, num_init_features=64)(nn.Variable((1, 3, 37, 50)))
    values = {name: p.d for name, p in nn.get_parameters(grad_only=False).items()}
    head = values['decode_head/convs/0/conv/conv/W']
    assert head.std() == pytest.approx(0.01, rel=0.05)
    assert abs(head).max() > 0.02
    stem = values['backbone/conv1/conv/W']
    limit = np.sqrt(6 / (3 * 9 + 64 * 9))
    assert 0.95 * limit < abs(stem).max() <= limit
    assert not values['decode_head/conv_seg/conv/b'].any()
