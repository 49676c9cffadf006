"""Initial values of networks, compared with the formulas of PyTorch's documentation."""

import nnabla as nn
import numpy as np
import pytest

import models
from layers import initializers


def values(name):
    return nn.get_parameters()[name].d


def test_kaiming_normal_scales_with_the_outputs():
    weights = initializers.kaiming_normal((400, 100, 3, 3))
    assert weights.dtype == np.float32
    assert weights.std() == pytest.approx(np.sqrt(2 / (400 * 9)), rel=1e-2)
    assert abs(weights.mean()) < 1e-3


def test_kaiming_normal_by_inputs_scales_with_the_inputs():
    weights = initializers.kaiming_normal_by_inputs((400, 100, 3, 3))
    assert weights.dtype == np.float32
    assert weights.std() == pytest.approx(np.sqrt(2 / (100 * 9)), rel=1e-2)
    assert abs(weights.mean()) < 1e-3


def test_default_uniform_scales_with_the_inputs():
    weights = initializers.default_uniform(100, 3)((400, 100, 3, 3))
    assert weights.dtype == np.float32
    assert np.abs(weights).max() == pytest.approx(1 / 30, rel=1e-3)
    assert weights.std() == pytest.approx(1 / 30 / np.sqrt(3), rel=1e-2)


def test_ddrnet():
    models.create('ddrnet23_slim')(nn.Variable((1, 3, 8, 8)))
    assert values('layer4/1/conv2/conv/W').std() == pytest.approx(np.sqrt(2 / (256 * 9)), rel=1e-2)
    bias = np.abs(values('final_layer/conv2/conv/b'))
    assert 0.05 < bias.max() <= 1 / np.sqrt(64)
    assert np.all(values('layer1/0/bn2/bn/gamma') == 1)


def test_dabnet_with_resnet():
    models.create('dabnet_r18_p1')(nn.Variable((1, 3, 32, 32)))
    encoder = 'backbone/backbone/layer4/1'
    assert values(f'{encoder}/conv2/conv/W').std() == pytest.approx(
        np.sqrt(2 / (512 * 9)), rel=1e-2
    )
    assert not values(f'{encoder}/bn2/bn/gamma').any()
    assert np.all(values(f'{encoder}/bn1/bn/gamma') == 1)
    patches = values('backbone/SIM_3/h2l_0/conv/W')  # 512 inputs
    assert np.abs(patches).max() == pytest.approx(1 / np.sqrt(512 * 9), rel=1e-3)
    assert values('backbone/SIM_3/h2l_0/conv/b').any()
    assert values('decode_head/conv_seg/conv/W').std() == pytest.approx(0.01, rel=0.05)
    assert not values('decode_head/conv_seg/conv/b').any()


def test_dabnet_with_efficientnet():
    models.create('dabnet_e')(nn.Variable((1, 3, 64, 64)))
    block = 'backbone/backbone/blocks/6/1'
    depthwise = values(f'{block}/conv_dw/conv/W')  # one output a group
    assert depthwise.std() == pytest.approx(np.sqrt(2 / 9), rel=0.02)
    assert values(f'{block}/conv_pw/conv/W').std() == pytest.approx(np.sqrt(2 / 1920), rel=0.02)
    assert not values(f'{block}/se/conv_reduce/conv/b').any()
