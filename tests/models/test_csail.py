"""CSAIL's ADE20K networks compute what the reference does, in every combination."""

from itertools import product

import nnabla as nn
import nnabla.functions as F
import numpy as np
import pytest

import models
from layers import functions as L
from models.csail import DECODERS
from models.encoders.resnet import DEPTHS
from support import network_checks, stand_ins
from support.reference_tester import Reference

# The tolerance of single values in training, in standard deviations.
# A wrong epsilon would move all values by 2e-2 and more.
REFERENCES = {
    'resnet18dilated8_c1_deepsup': 2e-4,
    'resnet18dilated8_ppm_deepsup': 2e-4,
    'resnet18dilated16_c1_deepsup': 2e-4,
    'resnet50_upernet': 1e-3,
    'resnet50_upernet_lite': 1e-3,
    'resnet50dilated8_ppm': 1e-3,
    'resnet50dilated8_ppm_deepsup': 1e-3,
    'resnet50dilated16_c1': 1e-3,
    'resnet101_upernet': 2e-3,
    'resnet101dilated8_ppm_deepsup': 2e-3,
}
STRIDES = {'': 32, 'dilated8': 8, 'dilated16': 16}  # of an encoder's last map


def named(outputs):
    """What the reference's training path returns, and its logits, by the fixtures' names."""
    main, *auxiliary = outputs
    result = {'logits_lowres': main, 'log_prob': F.log_softmax(main, axis=1)}
    for logits in auxiliary:
        result |= {'logits_deepsup': logits, 'log_prob_deepsup': F.log_softmax(logits, axis=1)}
    return result


def evaluated(network, x):
    outputs = network(x, aux=True)
    return named(outputs) | {'prob': F.softmax(L.resize(outputs[0], x.shape[2:]), axis=1)}


def trained(network, x):
    return named(network(x, train=True, dropout=False))


@pytest.mark.parametrize('name', REFERENCES)
def test_the_reference(name, shared):
    reference = Reference(f'csail_{name}', shared)
    reference.check_state()
    reference.check_outputs(evaluated)
    reference.check_training(trained, tolerance=REFERENCES[name])


def test_every_combination_has_a_name():
    parts = product(('resnet18', 'resnet50', 'resnet101'), STRIDES, DECODERS)
    names = {f'csail_{depth}{suffix}_{decoder}' for depth, suffix, decoder in parts}
    assert {name for name in models.names() if name.startswith('csail_')} == names
    assert len(names) == 54


@pytest.mark.parametrize('depth', DEPTHS)
def test_every_combination_builds(depth):
    """Sizes of all outputs; the parameters are those of the plain encoder; too small images are
    refused, and no smaller one would do.
    """
    x = nn.Variable((1, 3, 97, 161))
    for decoder in DECODERS:
        with nn.parameter_scope('decoder'):
            nn.clear_parameters()
        expected = None
        for suffix, stride in STRIDES.items():
            network = models.create(f'csail_{depth}{suffix}_{decoder}')
            with stand_ins.zero_parameters():
                outputs = network(x, aux=True)
            own = {name: p.shape for name, p in nn.get_parameters(grad_only=False).items()}
            expected = expected or own
            assert own == expected
            strides = [4 if decoder.startswith('upernet') else stride]
            strides += [min(stride, 16)] * decoder.endswith('_deepsup')
            sizes = [(1, 150, -(-97 // stride), -(-161 // stride)) for stride in strides]
            assert [output.shape for output in outputs] == sizes
            check_smallest_size(network, 1 if decoder.startswith('c1') else stride + 1)


def check_smallest_size(network, smallest):
    info = network.info
    assert (info.smallest_size, info.size_divisor) == (smallest, 1)
    network(nn.Variable((1, 3, smallest, smallest + 1)))
    if smallest > 1:
        for size in (smallest - 1, smallest), (smallest, smallest - 1):
            refusal = f'{size[0]}x{size[1]} pixels: height and width must be at least {smallest}'
            with pytest.raises(models.ModelError, match=refusal):
                network(nn.Variable((1, 3, *size)))
            with pytest.raises(ValueError, match='cannot resize'):
                network.family.graph(nn.Variable((1, 3, *size)), L.Build(), **network.hyper)


@pytest.mark.parametrize('name', ['resnet18_c1', 'resnet18_ppm', 'resnet18_upernet'])
def test_the_smallest_size_computes(name):
    network = models.create(f'csail_{name}')
    size = network.info.smallest_size
    image = np.random.RandomState(0).randn(1, 3, size, size).astype(np.float32)
    logits = network(nn.Variable.from_numpy_array(image))[0]
    logits.forward(clear_buffer=True)
    assert np.isfinite(logits.d).all() and logits.d.std() > 0


@pytest.mark.parametrize(
    'name, outputs',
    [
        ('resnet18dilated8_c1', 1),
        ('resnet18_c1_deepsup', 2),
        ('resnet50dilated16_ppm', 1),
        ('resnet18dilated16_ppm_deepsup', 2),
        ('resnet18_upernet', 1),
        ('resnet101dilated8_upernet_lite', 1),
    ],
)
def test_calls(name, outputs):
    network_checks.check_calls(f'csail_{name}', outputs=outputs)


@pytest.mark.parametrize(
    'name',
    [
        'resnet18_c1_deepsup',
        'resnet18dilated16_ppm',
        'resnet18dilated8_upernet',
        'resnet50_c1',
        'resnet50dilated8_ppm_deepsup',
        'resnet101_upernet_lite',
    ],
)
def test_gradients(name):
    network_checks.check_gradients(f'csail_{name}')


@pytest.mark.parametrize(
    'name, size', [('resnet18dilated8_ppm', 64), ('resnet18_ppm_deepsup', 64), ('resnet18_c1', 32)]
)
def test_one_image_is_no_batch(name, size):
    """A PPM pools to one pixel; a plain encoder's last map has only one for 32 x 32."""
    network_checks.check_one_image_is_no_batch(f'csail_{name}', size=size)


@pytest.mark.parametrize('name', ['resnet18_upernet', 'resnet18_c1_deepsup'])
def test_one_image_is_a_batch_where_no_map_has_one_pixel(name):
    """A UPerNet normalises after it has resized the pooled maps."""
    image = np.random.RandomState(0).randn(1, 3, 33, 33).astype(np.float32)
    x = nn.Variable.from_numpy_array(image)
    nn.forward_all(models.create(f'csail_{name}')(x, train=True))
    for parameter, values in nn.get_parameters(grad_only=False).items():
        assert np.isfinite(values.d).all(), parameter


def test_initial_values_are_those_of_the_original():
    """Encoders: normal, by the outputs. Decoders: normal, by the inputs; batch norms' beta 1e-4;
    biases as PyTorch's.
    """
    models.create('csail_resnet18_ppm_deepsup')(nn.Variable((1, 3, 64, 64)))
    values = {name: p.d for name, p in nn.get_parameters(grad_only=False).items()}
    for name, array in values.items():
        outputs, inputs, *kernel = array.shape if array.ndim == 4 else (0, 0)
        area = np.prod(kernel)
        if name.endswith('/W'):
            fan = area * (outputs if name.startswith('encoder/') else inputs)
            assert array.std() == pytest.approx(np.sqrt(2 / fan), rel=0.05), name
            assert abs(array).max() > 2.5 * np.sqrt(2 / fan), name
        elif name.endswith('beta'):
            assert np.all(array == np.float32(1e-4 * name.startswith('decoder/'))), name
        elif name.endswith(('gamma', 'var')):
            assert np.all(array == 1), name
    for name, inputs in (('conv_last/4', 512), ('conv_last_deepsup', 128)):
        limit, bias = inputs**-0.5, values[f'decoder/{name}/conv/b']
        assert 0.9 * limit < abs(bias).max() <= limit
        assert abs(bias.mean()) < 0.2 * limit


@pytest.mark.parametrize(
    'decoder, count',
    [('c1_deepsup', 0), ('ppm', 1), ('ppm_deepsup', 2), ('upernet', 0)],
)
def test_dropout_in_training_of_whole_maps_of_a_ppm(decoder, count):
    """Before each classifier, one draw an image and map."""
    network, x = models.create(f'csail_resnet18_{decoder}'), nn.Variable((2, 3, 64, 64))
    with stand_ins.zero_parameters():
        assert dropouts(network(x, train=True)) == [(2, 512, 1, 1), (2, 128, 1, 1)][:count]
        assert dropouts(network(x, train=True, dropout=False)) == []
        assert dropouts(network(x, aux=True)) == []


def dropouts(outputs):
    shapes = []

    def visit(function):
        if function.info.type_name == 'Dropout':
            shapes.append(function.outputs[0].shape)

    for output in outputs:
        output.visit(visit)
    return shapes


@pytest.mark.parametrize('name', ['resnet18dilated8_ppm_deepsup', 'resnet50_upernet_lite'])
def test_forms(name):
    network_checks.check_forms(f'csail_{name}', 70, 97)


def test_hyper_parameters_of_the_decoders():
    network = models.create({'network': 'csail_resnet18_upernet', 'pool_scales': [1, 4]}, fpn_dim=8)
    assert network.hyper['pool_scales'] == (1, 4)
    with stand_ins.zero_parameters():
        network(nn.Variable((1, 3, 33, 33)))
    shapes = {name: p.shape for name, p in nn.get_parameters().items()}
    assert shapes['decoder/ppm_last_conv/0/conv/W'] == (8, 512 + 2 * 512, 3, 3)
    assert [shapes[f'decoder/fpn_in/{i}/0/conv/W'][:2] for i in range(3)] == [
        (8, 64),
        (8, 128),
        (8, 256),
    ]
    assert models.create('csail_resnet50_ppm', pool_scales=[1]).info.smallest_size == 1


@pytest.mark.parametrize(
    'name, changes, message',
    [
        (
            'c1',
            {'pool_scales': [1]},
            'pool_scales: the decoder c1 does not use it; .* are ppm, ppm_deeps',
        ),
        (
            'ppm',
            {'fpn_dim': 8},
            'fpn_dim: the decoder ppm does not use it; .* are upernet, upernet_lite',
        ),
        ('ppm', {'pool_scales': [1, 0]}, 'pool_scales: must be at least 1, not .1, 0.'),
        ('ppm', {'pool_scales': []}, 'pool_scales: must be a list'),
        ('ppm', {'pool_scales': 6}, 'pool_scales: must be a list, not 6'),
        ('upernet', {'fpn_dim': 0}, 'fpn_dim: must be at least 1'),
        ('c1', {'num_classes': 0}, 'num_classes: must be at least 1'),
        ('ppm', {'pool_scale': [1]}, 'pool_scale: .*did you mean pool_scales'),
    ],
)
def test_a_wrong_hyper_parameter_is_named(name, changes, message):
    with pytest.raises(models.HyperParameterError, match=message):
        models.create(f'csail_resnet18_{name}', **changes)
