"""CSAIL's ADE20K networks: the reference's numbers, sizes, builds, initial values, refusals."""

from itertools import product

import nnabla as nn
import numpy as np
import pytest

import models
from layers import functions as L
from models.csail import DECODERS
from models.encoders.resnet import DEPTHS
from support import network_checks, reference_outputs, stand_ins
from support.reference_tester import Reference

# Tolerance of single values in training, in standard deviations: rounding errors grow with depth.
# A wrong epsilon would move all values by 2e-2 and more. Ordered so that neighbours share encoders.
TOLERANCES = {
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
# One of each kind: both residuals, with and without dilation, all decoders. `make test` compares
# these at all sizes and in training, the others at the first size.
COMPARED_IN_FULL = (
    'resnet18dilated8_ppm_deepsup',
    'resnet18dilated16_c1_deepsup',
    'resnet50_upernet_lite',
    'resnet50dilated8_ppm',
)
STRIDES = {'': 32, 'dilated8': 8, 'dilated16': 16}  # of an encoder's last map
whole_registry = pytest.mark.whole_registry


def compare_with_reference(name, shared, in_full):
    reference = Reference(f'csail_{name}', shared)
    reference.check_state()
    if not in_full:
        reference.meta['cases'] = reference.meta['cases'][:1]
    reference.check_outputs(reference_outputs.csail_evaluation)
    if in_full:
        reference.check_training(reference_outputs.csail_training, tolerance=TOLERANCES[name])


@pytest.mark.parametrize('name', TOLERANCES)
def test_computes_what_the_reference_computes(name, shared):
    compare_with_reference(name, shared, in_full=name in COMPARED_IN_FULL)


@whole_registry
@pytest.mark.parametrize('name', sorted(set(TOLERANCES) - set(COMPARED_IN_FULL)))
def test_computes_what_the_reference_computes_at_all_sizes_and_in_training(name, shared):
    compare_with_reference(name, shared, in_full=True)


def test_every_combination_has_a_name():
    parts = product(('resnet18', 'resnet50', 'resnet101'), STRIDES, DECODERS)
    names = {f'csail_{depth}{suffix}_{decoder}' for depth, suffix, decoder in parts}
    assert {name for name in models.names() if name.startswith('csail_')} == names
    assert len(names) == 54


@pytest.mark.parametrize(
    'depth',
    [pytest.param(depth, marks=[whole_registry] * (depth != 'resnet18')) for depth in DEPTHS],
)
def test_every_combination_builds(depth):
    """All outputs have the right sizes, and dilation does not change the parameters.

    Images below the smallest size are refused, because the graph cannot be built for them.
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


@pytest.mark.parametrize('name', ['resnet18_c1', 'resnet18_ppm', 'resnet18_upernet_lite'])
def test_the_smallest_size_gives_finite_logits(name):
    network = models.create(f'csail_{name}')
    size = network.info.smallest_size
    image = np.random.RandomState(0).randn(1, 3, size, size).astype(np.float32)
    logits = network(nn.Variable.from_numpy_array(image))[0]
    logits.forward(clear_buffer=True)
    assert np.isfinite(logits.d).all() and logits.d.std() > 0


@pytest.mark.parametrize(
    'name, outputs, hyper',
    [
        ('resnet50dilated8_c1', 1, {}),
        ('resnet18_c1_deepsup', 2, {}),
        ('resnet18dilated16_ppm_deepsup', 2, {}),
        ('resnet18_upernet', 1, {'fpn_dim': 32}),
        pytest.param('resnet50dilated16_ppm', 1, {}, marks=whole_registry),
        pytest.param('resnet18_upernet', 1, {}, marks=whole_registry),
        pytest.param('resnet101dilated8_upernet_lite', 1, {}, marks=whole_registry),
    ],
)
def test_every_build_has_the_same_parameters(name, outputs, hyper):
    network_checks.check_build_options(f'csail_{name}', outputs=outputs, **hyper)


@pytest.mark.parametrize(
    'name',
    [
        'resnet18_c1_deepsup',
        'resnet18dilated16_ppm',
        'resnet50_c1',
        pytest.param('resnet18dilated8_upernet', marks=whole_registry),
        pytest.param('resnet50dilated8_ppm_deepsup', marks=whole_registry),
        pytest.param('resnet101_upernet_lite', marks=whole_registry),
    ],
)
def test_gradients_reach_every_parameter(name):
    """test_recomputation.py has a UPerNet."""
    network_checks.check_gradients(f'csail_{name}')


@pytest.mark.parametrize(
    'name, size', [('resnet18dilated8_ppm', 64), ('resnet18_ppm_deepsup', 64), ('resnet18_c1', 32)]
)
def test_one_image_cannot_be_trained_where_a_map_has_one_pixel(name, size):
    """A PPM pools to one pixel; the last map of a plain encoder has one pixel for 32 x 32."""
    network_checks.check_single_image_is_refused(f'csail_{name}', size=size)


@pytest.mark.parametrize('name', ['resnet18_upernet_lite', 'resnet18_c1_deepsup'])
def test_one_image_can_be_trained_where_no_map_has_one_pixel(name):
    """A UPerNet resizes the pooled maps before it normalises them."""
    image = np.random.RandomState(0).randn(1, 3, 33, 33).astype(np.float32)
    x = nn.Variable.from_numpy_array(image)
    nn.forward_all(models.create(f'csail_{name}')(x, train=True))
    for parameter, values in nn.get_parameters(grad_only=False).items():
        assert np.isfinite(values.d).all(), parameter


def test_initial_values_are_those_of_the_original():
    """Weights are normal, in encoders by the outputs, in decoders by the inputs.

    Decoders have a beta of 1e-4 in batch norms, and PyTorch's default for biases.
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
def test_a_ppm_drops_whole_maps_in_training_only(decoder, count):
    """There is a dropout layer before each classifier, with one draw for each image and map."""
    network, x = models.create(f'csail_resnet18_{decoder}'), nn.Variable((2, 3, 64, 64))
    with stand_ins.zero_parameters():
        assert dropout_shapes(network(x, train=True)) == [(2, 512, 1, 1), (2, 128, 1, 1)][:count]
        assert dropout_shapes(network(x, train=True, dropout=False)) == []
        assert dropout_shapes(network(x, aux=True)) == []


def dropout_shapes(outputs):
    shapes = []

    def visit(function):
        if function.info.type_name == 'Dropout':
            shapes.append(function.outputs[0].shape)

    for output in outputs:
        output.visit(visit)
    return shapes


@pytest.mark.parametrize(
    'name, height, width, hyper',
    [
        ('resnet18dilated8_ppm_deepsup', 22, 33, {}),
        ('resnet50_upernet_lite', 38, 65, {'fpn_dim': 32}),
        pytest.param('resnet18dilated8_ppm_deepsup', 70, 97, {}, marks=whole_registry),
        pytest.param('resnet50_upernet_lite', 70, 97, {}, marks=whole_registry),
    ],
)
def test_graphs_for_gpus_compute_the_same(name, height, width, hyper):
    network_checks.check_gpu_graphs(f'csail_{name}', height, width, **hyper)


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
        ('c1', {'pool_scales': [1]}, 'pool_scales: the decoder c1 does not use it; .* ppm, ppm_d'),
        ('ppm', {'fpn_dim': 8}, 'fpn_dim: the decoder ppm does not use it; .* are upernet, uper'),
        ('ppm', {'pool_scales': [1, 0]}, 'pool_scales: must be at least 1, not .1, 0.'),
        ('ppm', {'pool_scales': []}, 'pool_scales: must be a list'),
        ('ppm', {'pool_scales': 6}, r'pool_scales: must be a list, such as \[6\], not 6'),
        ('upernet', {'fpn_dim': 0}, 'fpn_dim: must be at least 1'),
        ('c1', {'num_classes': 0}, 'num_classes: must be at least 1'),
        ('ppm', {'pool_scale': [1]}, 'pool_scale: .*did you mean pool_scales'),
    ],
)
def test_illegal_hyper_parameters_are_refused(name, changes, message):
    with pytest.raises(models.HyperParameterError, match=message):
        models.create(f'csail_resnet18_{name}', **changes)
