"""Static analysis of a graph against what NNabla runs."""

import nnabla as nn
import numpy as np
import pytest

import models
from layers import functions as L
from layers import graph
from support import stand_ins

NETWORKS = ('ddrnet23_slim_aux', 'csail_resnet18dilated8_ppm_deepsup', 'd3net_t')


@pytest.mark.parametrize('name', NETWORKS)
def test_the_backward_order_is_nnablas(name):
    with stand_ins.zero_parameters():
        outputs = models.create(name, num_classes=3)(nn.Variable((2, 3, 32, 64)), train=True)
    loss = sum((L.mean_all(y) for y in outputs[1:]), L.mean_all(outputs[0]))
    met = []
    loss.forward()
    loss.backward(function_post_hook=met.append)
    assert len(met) > 100
    assert graph.backward_order(loss) == met


def test_functions_without_a_gradient_are_not_in_a_backward_pass():
    x = nn.Variable.from_numpy_array(np.ones((1, 1, 4, 4), np.float32))
    y = L.convolution(L.mean_all(x).reshape((1, 1, 1, 1)), 2, 1, 'conv', L.Build(train=True))
    assert [f.info.type_name for f in graph.functions(y)][-1] == 'Convolution'
    assert [f.info.type_name for f in graph.backward_order(y)] == ['Convolution']
