"""EdgeAI-Lite: the original's numbers, its names and what they mean, legal sizes, refusals."""

import re

import nnabla as nn
import nnabla.functions as F
import numpy as np
import pytest

import models
from common.sections import SectionError
from layers import functions as L
from models import edgeailite
from support import network_checks, stand_ins
from support.reference_tester import Reference

FIXTURES = (
    'deeplabv3plus_mobilenetv2_tv_edgeailite',
    'deeplabv3plus_regnetx800mf_edgeailite',
    'fpn_aspp_mobilenetv2_tv_edgeailite',
    'fpn_aspp_mobilenetv2_tv_fd_edgeailite',
    'fpn_aspp_regnetx1p6gf_edgeailite',
    'fpn_aspp_regnetx3p2gf_edgeailite',
    'fpn_aspp_regnetx400mf_edgeailite',
    'fpn_aspp_regnetx800mf_edgeailite',
    'unet_aspp_mobilenetv2_tv_edgeailite',
    'unet_aspp_regnetx800mf_edgeailite',
)
# What the original modules export with a MobileNetV2 or RegNetX encoder, and no fixture holds.
OTHERS = (
    'deeplabv3plus_mobilenetv2_tv_fd_edgeailite',
    'deeplabv3plus_mobilenetv2_tv_1p4_edgeailite',
    'deeplabv3plus_regnetx800mf_bgr_edgeailite',
    'unet_aspp_mobilenetv2_tv_fd_edgeailite',
    'unet_aspp_regnetx800mf_bgr_edgeailite',
    'fpn128_aspp_mobilenetv2_tv_fd_edgeailite',
    'fpn_aspp_mobilenetv2_1p4_tv_edgeailite',
    'fpn_mobilenetv2_tv_edgeailite',
    'fpn_mobilenetv2_tv_fd_edgeailite',
    'fpn_aspp_regnetx400mf_bgr_edgeailite',
    'fpn_aspp_regnetx800mf_bgr_edgeailite',
    'fpn_aspp_regnetx1p6gf_bgr_edgeailite',
    'fpn_aspp_regnetx3p2gf_bgr_edgeailite',
)
# Of each encoder: trainable parameters, channels of its maps, group size; then the channels of the
# decoder, of fpn128's and of DeepLabV3+'s shortcut. Parameters are those of the classifiers that
# torchvision, timm (width 1.4, three digits) and pycls publish, less what follows the last map.
ENCODERS = {
    'mobilenetv2_tv': (3504872 - 1693160, (16, 24, 32, 96, 320), None, 256, 128, 48),
    'mobilenetv2_tv_1p4': (6.11e6 - 2599400, (24, 32, 48, 136, 448), None, 360, 176, 64),
    'regnetx400mf': (5157512 - 385000, (32, 32, 64, 160, 384), 16, 256, 128, 48),
    'regnetx800mf': (7259656 - 673000, (32, 64, 128, 288, 672), 16, 256, 128, 48),
    'regnetx1p6gf': (9190136 - 913000, (32, 72, 168, 408, 912), 24, 264, 128, 48),
    'regnetx3p2gf': (15296552 - 1009000, (32, 96, 192, 432, 1008), 48, 288, 128, 48),
}


def outputs(network, x, **call):
    logits = network(x, **call)[0]
    return {'pred_lowres': logits, 'logits': L.resize(logits, x.shape[2:])}


def evaluated(network, x):
    results = outputs(network, x)
    results['argmax'] = F.max(results['logits'], axis=1, keepdims=True, only_index=True)
    return results


@pytest.mark.parametrize('name', FIXTURES)
def test_the_original_computes_the_same(name, shared):
    reference = Reference(name, shared)
    reference.check_state()
    reference.check_outputs(evaluated)
    reference.check_training(lambda network, x: outputs(network, x, train=True, dropout=False))


def test_every_name_of_the_original_is_there():
    assert set(FIXTURES + OTHERS) <= set(models.names())
    for name in edgeailite.VARIANTS:
        network = models.create(name)
        assert network.info.channel_order == ('bgr' if '_bgr_' in name else 'rgb')
        assert (network.info.mean, network.info.std) == ((128,) * 3, (64,) * 3)


def hyper(name):
    return models.create(f'{name}_edgeailite').hyper


def test_both_spellings_of_the_width_mean_one_network():
    for decoder in edgeailite.DECODERS:
        assert hyper(f'{decoder}_mobilenetv2_1p4_tv') == hyper(f'{decoder}_mobilenetv2_tv_1p4')


def test_bgr_changes_nothing_but_the_order_of_the_channels():
    for name in ('deeplabv3plus_regnetx800mf', 'unet_aspp_regnetx800mf', 'fpn_aspp_regnetx3p2gf'):
        assert {**hyper(f'{name}_bgr'), 'channel_order': 'rgb'} == hyper(name)


def trainable(name):
    """Trainable parameters, and how many times smaller than the input the logits are."""
    nn.clear_parameters()
    network = models.create(name)
    size = network.info.smallest_size
    with stand_ins.zero_parameters():
        logits = network(nn.Variable((1, 3, size, 2 * size)))[0]
    assert logits.shape[3] == 2 * logits.shape[2]
    return sum(p.size for p in nn.get_parameters().values()), size // logits.shape[2]


def unit(inputs, channels):
    return inputs * channels + 2 * channels


def separable(inputs, channels, group_size):
    groups = inputs // group_size if group_size else inputs
    return inputs * (inputs // groups) * 9 + 2 * inputs + unit(inputs, channels)


def parameters_of(name):
    """Counted from what the original's factories configure."""
    decoder, encoder = re.match('(.*?)_((?:mobilenet|regnet).*)_edgeailite', name).groups()
    encoder = encoder.replace('1p4_tv', 'tv_1p4')
    total, maps, size, *widths = ENCODERS[re.sub('_(fd|bgr)$', '', encoder)]
    classes = models.create(name).info.num_classes
    width = widths[1 if '128' in decoder else 0]
    if decoder.startswith('fpn') and not ('128' in decoder and encoder.endswith('_fd')):
        maps = maps[1:]
    *shortcuts, x = maps
    if 'aspp' in decoder or decoder == 'deeplabv3plus':
        total += unit(x, width) + 3 * separable(x, width, size) + unit(4 * width, width)
    else:
        total += separable(x, x, size) + separable(x, width, size)
        shortcuts = [*maps, x]
    x = width
    if decoder == 'deeplabv3plus':
        total, x = total + unit(maps[1], widths[2]), width + widths[2]
    for shortcut in () if decoder == 'deeplabv3plus' else reversed(shortcuts):
        if decoder.startswith('fpn'):
            total += unit(shortcut, width) + separable(width, width, size)
        else:
            inputs, x = x + shortcut, max(2 * classes, 32, shortcut)
            total += separable(inputs, x, size)
    return total + separable(x, classes, size) - 2 * classes  # the last has no batch norm


@pytest.mark.parametrize('decoder', edgeailite.DECODERS)
def test_parameters_of_every_name(decoder):
    for name in edgeailite.VARIANTS:
        if name.startswith((f'{decoder}_mobile', f'{decoder}_regnet')):
            rounded = 5e3 if '1p4' in name else 0
            assert trainable(name)[0] == pytest.approx(parameters_of(name), abs=rounded), name


@pytest.mark.parametrize(
    'name, plain, fast',
    [
        ('deeplabv3plus_mobilenetv2_tv', 4, 8),
        ('unet_aspp_regnetx800mf', 2, 4),
        ('unet_mobilenetv2_tv', 2, 4),
        ('fpn_aspp_mobilenetv2_tv_1p4', 4, 8),
        ('fpn_regnetx1p6gf', 4, 8),
    ],
)
def test_fast_downsampling_halves_the_logits_and_keeps_the_parameters(name, plain, fast):
    parameters, stride = trainable(f'{name}_edgeailite')
    assert stride == plain
    assert trainable(f'{name}_fd_edgeailite') == (parameters, fast)


def test_fpn128_ends_at_a_quarter_also_with_fast_downsampling():
    assert trainable('fpn128_aspp_mobilenetv2_tv_edgeailite')[1] == 4
    assert trainable('fpn128_aspp_mobilenetv2_tv_fd_edgeailite')[1] == 4
    assert hyper('fpn128_aspp_mobilenetv2_tv_fd')['decoder_chan'] == 128


def activations(name, **changes):
    kinds = set()
    nn.clear_parameters()
    network = models.create(f'{name}_edgeailite', **changes)
    size = network.info.smallest_size
    with stand_ins.zero_parameters():
        network(nn.Variable((1, 3, size, size)))[0].visit(lambda f: kinds.add(f.info.type_name))
    return kinds & {'ReLU', 'ReLU6'}


def test_only_width_1p4_has_relu6_and_has_it_everywhere():
    assert activations('deeplabv3plus_mobilenetv2_tv') == {'ReLU'}
    for decoder in ('deeplabv3plus', 'unet_aspp', 'fpn'):
        assert activations(f'{decoder}_mobilenetv2_tv_1p4') == {'ReLU6'}
    neither = dict(use_aspp=False, use_extra_strides=False)
    assert activations('fpn_mobilenetv2_tv_1p4', **neither) == {'ReLU', 'ReLU6'}


def test_weights_start_as_in_the_original():
    """Normal by the number of outputs, for grouped convolutions of all groups' outputs."""
    models.create('fpn_aspp_regnetx400mf_edgeailite')(nn.Variable((1, 3, 32, 32)))
    parameters = nn.get_parameters()
    for name, deviation in (
        ('encoder/features/s4/b2/f/b/conv/W', np.sqrt(2 / (384 * 9))),
        ('decoders/0/rfblock/aspp_out/0/conv/W', np.sqrt(2 / 256)),
    ):
        assert parameters[name].d.std() == pytest.approx(deviation, rel=0.02)
    gammas = {p.d.flat[0] for n, p in parameters.items() if n.endswith('gamma')}
    assert gammas == {np.float32(1 - 1e-5)}


@pytest.mark.parametrize(
    'name, size',
    [
        ('deeplabv3plus_mobilenetv2_tv', 16),
        ('deeplabv3plus_regnetx400mf_fd', 32),
        ('unet_aspp_regnetx800mf', 32),
        ('fpn128_aspp_mobilenetv2_tv_fd', 64),
        ('fpn_mobilenetv2_tv', 128),
        ('unet_mobilenetv2_tv_fd', 256),
    ],
)
def test_legal_sizes(name, size):
    network_checks.check_sizes(f'{name}_edgeailite', size, size)


CHECKED = (
    'deeplabv3plus_mobilenetv2_tv_1p4_edgeailite',
    'deeplabv3plus_regnetx1p6gf_edgeailite',
    'deeplabv3plus_regnetx3p2gf_edgeailite',
    'unet_aspp_regnetx800mf_fd_edgeailite',
    'fpn_mobilenetv2_tv_edgeailite',
)


@pytest.mark.parametrize('name', CHECKED)
def test_every_call_registers_the_same_parameters(name):
    with stand_ins.zero_parameters():
        network_checks.check_calls(name, outputs=1)


@pytest.mark.parametrize(
    'name',
    [
        *CHECKED,
        'deeplabv3plus_regnetx400mf_edgeailite',
        'unet_mobilenetv2_tv_edgeailite',
        'fpn128_mobilenetv2_tv_edgeailite',
    ],
)
def test_gradients_reach_every_parameter(name):
    """With the other tests of training, of every encoder and of every decoder."""
    with stand_ins.zero_parameters():
        network_checks.check_gradients(name)


def training_step(recompute):
    """Gradients and running statistics after a step in which maps are dropped."""
    nn.clear_parameters()
    nn.random.set_function_seed(7)
    image = np.random.RandomState(5).randn(3, 3, 32, 64).astype(np.float32)
    network = models.create('unet_aspp_mobilenetv2_tv_edgeailite')
    with stand_ins.zero_parameters():
        logits = network(nn.Variable.from_numpy_array(image), train=True, recompute=recompute)[0]
    stand_ins.randomize_parameters()
    loss = L.mean_all(F.pow_scalar(logits, 2))
    for parameter in nn.get_parameters().values():
        parameter.grad.zero()
    loss.forward(clear_no_need_grad=True)
    loss.backward(clear_buffer=True)
    results = {f'{name}.g': p.g.copy() for name, p in nn.get_parameters().items()}
    return results | {n: p.d.copy() for n, p in nn.get_parameters(grad_only=False).items()}


def test_recomputed_blocks_change_no_bit_and_drop_the_same_maps():
    kept, recomputed = training_step('none'), training_step('blocks')
    assert kept.keys() == recomputed.keys()
    for name in kept:
        assert np.array_equal(kept[name], recomputed[name]), name


def test_a_fifth_of_the_maps_is_dropped_in_training_only():
    shares = {}
    for train in (False, True):
        dropped = shares[train] = []
        network = models.create('fpn_aspp_mobilenetv2_tv_edgeailite')
        with stand_ins.zero_parameters():
            logits = network(nn.Variable((2, 3, 32, 32)), train=train)[0]

        def look(function, dropped=dropped):
            if function.info.type_name == 'Dropout':
                dropped.append((function.info.args['p'], function.outputs[0].shape))

        logits.visit(look)
    assert shares == {False: [], True: [(pytest.approx(0.2), (2, 1024, 1, 1))]}


def test_one_image_of_the_smallest_size_is_no_batch():
    with stand_ins.zero_parameters():
        network_checks.check_one_image_is_no_batch('fpn_aspp_mobilenetv2_tv_edgeailite', 32)


@pytest.mark.parametrize(
    'name, changes, key, problem',
    [
        ('unet_aspp_regnetx800mf', dict(num_classes=25), 'num_classes', '50 channels.*3 groups'),
        ('unet_aspp_regnetx400mf', dict(num_classes=19), 'num_classes', '19 classes .* impossible'),
        ('unet_regnetx3p2gf_fd', dict(num_classes=19), 'num_classes', '19 classes .* impossible'),
        ('fpn_aspp_regnetx1p6gf', dict(decoder_chan=128), 'decoder_chan', '128 .*5 groups'),
        ('fpn_regnetx800mf', dict(decoder_chan=8), 'decoder_chan', '8 .*0 groups'),
        ('fpn_mobilenetv2_tv', dict(use_aspp=True), 'use_extra_strides', 'use_aspp: false'),
        ('deeplabv3plus_mobilenetv2_tv', dict(use_extra_strides=True), 'use_extra_strides', 'only'),
        ('unet_aspp_mobilenetv2_tv', dict(aspp_dil=[6, 12]), 'aspp_dil', 'a list of 3 values'),
        ('unet_aspp_mobilenetv2_tv', dict(aspp_dil=[6, 12, 0]), 'aspp_dil', 'at least 1'),
        ('unet_aspp_mobilenetv2_tv', dict(num_classes=0), 'num_classes', 'at least 1'),
    ],
)
def test_impossible_hyper_parameters_are_refused(name, changes, key, problem):
    with pytest.raises(models.HyperParameterError, match=problem) as error:
        models.create(f'{name}_edgeailite', **changes)
    assert error.value.key == key


def test_combinations_are_left_out_only_where_no_number_of_classes_is_possible():
    """Groups that do not divide the channels stop the original's construction too."""
    pairs = [
        (decoder, encoder)
        for decoder in edgeailite.DECODERS.values()
        for encoder in edgeailite.ENCODER_NAMES.values()
    ]
    possible = sum(any(is_possible(n, *pair) for n in range(1, 200)) for pair in pairs)
    assert len(edgeailite.VARIANTS) == possible == len(pairs) - 6


def is_possible(num_classes, decoder, encoder):
    hyper = dict(num_classes=num_classes, aspp_dil=(6, 12, 18), **decoder, **encoder)
    try:
        return bool(edgeailite.complete(hyper))
    except SectionError as error:
        assert 'do not split into' in str(error)
        return False


def test_networks_have_19_classes_wherever_they_can():
    for name, variant in edgeailite.VARIANTS.items():
        parts = {key: variant[key] for key in variant if key != 'num_classes'}
        assert (variant['num_classes'] == 19) == is_possible(19, parts, {}), name


def test_a_config_can_change_the_context_of_the_decoder():
    network = models.create(
        {
            'network': 'deeplabv3plus_mobilenetv2_tv_edgeailite',
            'use_aspp': False,
            'num_classes': 7,
        }
    )
    logits = network(nn.Variable((1, 3, 32, 48)))[0]
    assert logits.shape == (1, 7, 8, 12)
    assert not any('aspp' in name for name in nn.get_parameters())
