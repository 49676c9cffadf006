"""EdgeAI-Lite's names: what each means, how many parameters it has, which combinations exist."""

import re

import nnabla as nn
import pytest

import models
from common.sections import SectionError
from models import complexity, edgeailite

# Names of the original's modules with a MobileNetV2 or RegNetX encoder.
ORIGINAL_NAMES = (
    'deeplabv3plus_mobilenetv2_tv_edgeailite',
    'deeplabv3plus_mobilenetv2_tv_fd_edgeailite',
    'deeplabv3plus_mobilenetv2_tv_1p4_edgeailite',
    'deeplabv3plus_regnetx800mf_edgeailite',
    'deeplabv3plus_regnetx800mf_bgr_edgeailite',
    'unet_aspp_mobilenetv2_tv_edgeailite',
    'unet_aspp_mobilenetv2_tv_fd_edgeailite',
    'unet_aspp_regnetx800mf_edgeailite',
    'unet_aspp_regnetx800mf_bgr_edgeailite',
    'fpn128_aspp_mobilenetv2_tv_fd_edgeailite',
    'fpn_aspp_mobilenetv2_tv_edgeailite',
    'fpn_aspp_mobilenetv2_tv_fd_edgeailite',
    'fpn_aspp_mobilenetv2_1p4_tv_edgeailite',
    'fpn_mobilenetv2_tv_edgeailite',
    'fpn_mobilenetv2_tv_fd_edgeailite',
    'fpn_aspp_regnetx400mf_edgeailite',
    'fpn_aspp_regnetx400mf_bgr_edgeailite',
    'fpn_aspp_regnetx800mf_edgeailite',
    'fpn_aspp_regnetx800mf_bgr_edgeailite',
    'fpn_aspp_regnetx1p6gf_edgeailite',
    'fpn_aspp_regnetx1p6gf_bgr_edgeailite',
    'fpn_aspp_regnetx3p2gf_edgeailite',
    'fpn_aspp_regnetx3p2gf_bgr_edgeailite',
)
# For each encoder: trainable parameters, channels of its maps, group size; then the channels of the
# decoder, of fpn128's decoder and of DeepLabV3+'s shortcut. The number of parameters is that of the
# classifier published by torchvision, timm (width 1.4, three digits) or pycls, without the layers
# after the last map.
ENCODERS = {
    'mobilenetv2_tv': (3504872 - 1693160, (16, 24, 32, 96, 320), None, 256, 128, 48),
    'mobilenetv2_tv_1p4': (6.11e6 - 2599400, (24, 32, 48, 136, 448), None, 360, 176, 64),
    'regnetx400mf': (5157512 - 385000, (32, 32, 64, 160, 384), 16, 256, 128, 48),
    'regnetx800mf': (7259656 - 673000, (32, 64, 128, 288, 672), 16, 256, 128, 48),
    'regnetx1p6gf': (9190136 - 913000, (32, 72, 168, 408, 912), 24, 264, 128, 48),
    'regnetx3p2gf': (15296552 - 1009000, (32, 96, 192, 432, 1008), 48, 288, 128, 48),
}


def test_every_name_of_the_original_exists():
    assert set(ORIGINAL_NAMES) <= set(models.names())
    for name in edgeailite.VARIANTS:
        info = models.describe(name)
        assert info.channel_order == ('bgr' if '_bgr_' in name else 'rgb')
        assert (info.mean, info.std) == ((128,) * 3, (64,) * 3)


def hyper(name):
    return models.create(f'{name}_edgeailite').hyper


def test_both_spellings_of_the_width_name_one_network():
    for decoder in edgeailite.DECODERS:
        assert hyper(f'{decoder}_mobilenetv2_1p4_tv') == hyper(f'{decoder}_mobilenetv2_tv_1p4')


def test_bgr_changes_only_the_order_of_the_channels():
    names = [name for name in edgeailite.VARIANTS if '_bgr_' in name]
    assert len(names) == 26
    for name in names:
        rgb = models.create(name.replace('_bgr_', '_'))
        assert {**models.create(name).hyper, 'channel_order': 'rgb'} == rgb.hyper


def trainable(name):
    """Return the number of trainable values, and the stride of the logits."""
    network = models.create(name)
    size = network.info.smallest_size
    graph = complexity.shape_graph(network, (size, 2 * size))
    logits = graph.outputs[0]
    assert logits.shape[3] == 2 * logits.shape[2]
    parameters = sum(p.size for p in graph.parameters.values() if p.need_grad)
    return parameters, size // logits.shape[2]


def unit(inputs, channels):
    return inputs * channels + 2 * channels


def separable(inputs, channels, group_size):
    groups = inputs // group_size if group_size else inputs
    return inputs * (inputs // groups) * 9 + 2 * inputs + unit(inputs, channels)


def parameters_of(name):
    """Return the number of parameters that follows from the original's factories."""
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
    return total + separable(x, classes, size) - 2 * classes  # the last layer has no batch norm


def check_number_of_parameters(name):
    tolerance = 5e3 if '1p4' in name else 0  # the published number is rounded
    assert trainable(name)[0] == pytest.approx(parameters_of(name), abs=tolerance), name


@pytest.mark.parametrize('decoder', edgeailite.DECODERS)
def test_number_of_parameters_with_each_decoder_and_encoder(decoder):
    """The second spelling of 1p4, and bgr, are skipped: they have the same parameters.

    Fast downsampling, which does not change the parameters, has a separate test.
    """
    for encoder in edgeailite.ENCODERS:
        name = f'{decoder}_{encoder}_edgeailite'
        if name in edgeailite.VARIANTS:
            check_number_of_parameters(name)


@pytest.mark.whole_registry
def test_number_of_parameters_of_every_name():
    for name in edgeailite.VARIANTS:
        check_number_of_parameters(name)


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
def test_fast_downsampling_doubles_the_stride_and_keeps_the_parameters(name, plain, fast):
    parameters, stride = trainable(f'{name}_edgeailite')
    assert stride == plain
    assert trainable(f'{name}_fd_edgeailite') == (parameters, fast)


def test_fpn128_has_stride_4_with_fast_downsampling_too():
    assert trainable('fpn128_aspp_mobilenetv2_tv_edgeailite')[1] == 4
    assert trainable('fpn128_aspp_mobilenetv2_tv_fd_edgeailite')[1] == 4
    assert hyper('fpn128_aspp_mobilenetv2_tv_fd')['decoder_chan'] == 128


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


def test_missing_combinations_are_impossible_for_any_number_of_classes():
    """The original cannot be constructed either if the groups do not divide the channels."""
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


def test_networks_have_19_classes_wherever_possible():
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
