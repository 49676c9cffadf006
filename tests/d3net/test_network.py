"""The D3Net graph: the merged D2 block equals its plain form for all members."""

import nnabla as nn
import nnabla.functions as F
import numpy as np
import pytest

import models
from benchmarks.blocks import count_functions
from benchmarks.plain import plain_layers
from layers import functions as L
from support import stand_ins


def both_graphs(network, size, **build):
    """Return the logits of the merged and the plain graph for a seeded input and parameters."""
    x = np.random.RandomState(0).randn(1, 3, *size).astype(np.float32)
    x = nn.Variable.from_numpy_array(x)
    merged = network(x, **build)[0]
    stand_ins.randomize_parameters()
    plain = network.family.graph(x, L.Build(), layers=plain_layers, **network.hyper)[0]
    return merged, plain


@pytest.mark.parametrize('cuda', [False, True])
@pytest.mark.parametrize(
    'changes',
    [
        {},
        {'dense_n_out_layer_block': [3, 1]},
        {'num_layers': [1, 5], 'dense_n_out_layer_block': [1, 5]},
        {
            'n_blocks': [1, 1, 1],
            'num_layers': [2, 3, 4],
            'dens_k': [2, 3, 5],
            'block_comp': [1, 1, 1],
            'intermediate_out_ch': [2, 3, 4],
            'dense_n_out_layer_block': [1, 2, 3],
        },
        {
            'n_blocks': [2],
            'num_layers': [2],
            'dens_k': [3],
            'block_comp': [1.0],
            'intermediate_out_ch': [2],
            'dense_n_out_layer_block': [2],
        },
        {'num_classes': 1, 'trans_comp_factor': 3},
    ],
)
def test_any_member_of_the_family_equals_its_plain_form_bit_for_bit(changes, cuda):
    network = stand_ins.tiny(**changes)
    merged, plain = both_graphs(network, (33, 50), cuda=cuda)
    nn.forward_all([merged, plain])
    assert merged.shape == (1, network.info.num_classes, 9, 13)
    assert merged.d.std() > 0
    assert np.array_equal(merged.d, plain.d)


@pytest.mark.parametrize('cuda', [False, True])
def test_d3net_s_equals_its_plain_form_bit_for_bit(cuda):
    merged, plain = both_graphs(models.create('d3net_s'), (33, 50), cuda=cuda)
    nn.forward_all([merged, plain])
    assert np.array_equal(merged.d, plain.d)


def test_gradients_equal_those_of_the_plain_form():
    def gradients(index):
        nn.clear_parameters()
        graph = both_graphs(stand_ins.tiny(), (32, 32))[index]
        for parameter in nn.get_parameters().values():
            parameter.grad.zero()
        loss = L.mean_all(F.pow_scalar(graph, 2))
        loss.forward()
        loss.backward()
        return {name: p.g.copy() for name, p in nn.get_parameters().items()}

    merged, plain = gradients(0), gradients(1)
    assert merged.keys() == plain.keys()
    for name in merged:
        scale = np.abs(plain[name]).max()
        assert scale > 0, name
        assert merged[name] == pytest.approx(plain[name], abs=1e-5 * scale), name


def test_d3net_s_evaluates_with_at_most_960_functions_and_with_730_on_a_gpu():
    """The published graph has 1211, with upsampling and softmax."""
    x = nn.Variable((1, 3, 512, 1024))
    network = models.create('d3net_s')
    for cuda, most in ((False, 960), (True, 730)):
        probabilities = F.softmax(L.resize(network(x, cuda=cuda)[0], x.shape[2:]), axis=1)
        assert count_functions(probabilities) <= most
    plain = network.family.graph(x, L.Build(), layers=plain_layers, **network.hyper)[0]
    assert count_functions(plain) > 1150


def test_the_set_of_parameters_does_not_depend_on_the_call():
    network, x = stand_ins.tiny(), nn.Variable((1, 3, 32, 32))
    names = []
    for call in ({}, {'aux': True}, {'train': True}, {'cuda': True}, {'channel_last': True}):
        nn.clear_parameters()
        outputs = network(x, **call)
        assert len(outputs) == 1
        names.append({n: p.shape for n, p in nn.get_parameters(grad_only=False).items()})
    assert all(other == names[0] for other in names)


@pytest.mark.parametrize('stages', [1, 2, 4])
def test_the_smallest_size_works_and_one_pixel_less_does_not(stages):
    lists = ('num_layers', 'n_blocks', 'dens_k', 'block_comp', 'intermediate_out_ch')
    network = stand_ins.tiny(
        **{key: [stand_ins.TINY[key][0]] * stages for key in lists},
        dense_n_out_layer_block=[2] * stages,
    )
    smallest = network.info.smallest_size
    logits = network(nn.Variable((1, 3, smallest, smallest)))[0]
    logits.forward()
    assert logits.shape[2:] == (-(-smallest // 4),) * 2
    if smallest > 1:
        with pytest.raises(models.ModelError, match=f'at least {smallest}'):
            network(nn.Variable((1, 3, smallest, smallest - 1)))


def test_small_channel_counts_need_no_bottleneck():
    stand_ins.tiny(num_init_features=16)(nn.Variable((1, 3, 32, 32)))
    names = list(nn.get_parameters())
    first = [n for n in names if 'dense1/d2_block/block0' in n and 'bc_layer' in n]
    second = [n for n in names if 'dense1/d2_block/block1' in n and 'bc_layer' in n]
    assert not first  # 16 input channels are not more than 4 * k = 16
    assert second  # 16 + 4 input channels are
