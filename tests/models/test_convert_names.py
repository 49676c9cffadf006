"""Encoders trained on ImageNet, other class numbers, and checkpoints of something else."""

import re

import numpy as np
import pytest

import models
from models import weights
from support.checkpoint_writer import Checkpoint
from tests.models.test_convert import assert_same, convert, fixture


def seeded(shapes, seed=0):
    rng = np.random.RandomState(seed)
    return {n: rng.rand(*shape).astype(np.float32) for n, shape in shapes.items()}


def shapes_of(shared, name):
    state = fixture(shared, name)['state']
    return {n: tuple(shape) for n, shape, kind in state if kind != 'skip'}


def encoder_of(shared, name, prefix):
    """Arrays of what a network's names start with, by the rest of the name."""
    shapes = shapes_of(shared, name)
    return seeded({n[len(prefix) :]: s for n, s in shapes.items() if n.startswith(prefix)})


def batch_norm(name, width):
    leaves = ('weight', 'bias', 'running_mean', 'running_var')
    return {f'{name}.{leaf}': np.ones(width) for leaf in leaves}


def linear(name, outputs, inputs):
    return {f'{name}.weight': np.ones((outputs, inputs)), f'{name}.bias': np.ones(outputs)}


def write(path, arrays, wrapped=None, prefix=''):
    checkpoint = Checkpoint()
    state = checkpoint.state(arrays, prefix)
    return checkpoint.save(path, {wrapped: state} if wrapped else state)


def check_encoder(tmp_path, capsys, name, path, arrays, prefix):
    """``path`` converts to the encoder of a network, without being told that it is one."""
    target = tmp_path / 'out.h5'
    status = convert('--network', name, '-i', path, '-o', target)
    told = capsys.readouterr()
    assert status == 0, told.err
    assert '--partial is implied' in told.out
    state = {prefix + n: a for n, a in arrays.items()}
    assert_same(target, models.convert.from_pytorch(name, state))
    return told.out


CSAIL = ('csail_resnet18dilated8_ppm_deepsup', 'encoder.', linear('fc', 1000, 512))
MOBILENET = {
    'features.18.0.weight': np.ones((1280, 320, 1, 1)),
    **batch_norm('features.18.1', 1280),
    **linear('classifier.1', 1000, 1280),
}
TIMM = {
    'conv_head.weight': np.ones((1280, 320, 1, 1)),
    **batch_norm('bn2', 1280),
    **linear('classifier', 1000, 1280),
}


@pytest.mark.parametrize(
    ('name', 'prefix', 'classifier', 'wrapped'),
    [
        (*CSAIL, None),
        ('csail_resnet50_upernet', 'encoder.', linear('fc', 1000, 2048), None),
        ('dabnet_r18_p2', 'backbone.backbone.', linear('fc', 1000, 512), 'state_dict'),
        ('dabnet_e', 'backbone.backbone.', TIMM, None),
        ('unet_aspp_mobilenetv2_tv_edgeailite', 'encoder.', MOBILENET, None),
        (
            'fpn_aspp_regnetx400mf_edgeailite',
            'encoder.features.',
            linear('head.fc', 1000, 384),
            'model_state',
        ),
    ],
)
def test_imagenet_encoders(shared, tmp_path, capsys, name, prefix, classifier, wrapped):
    arrays = encoder_of(shared, name, prefix)
    path = write(tmp_path / 'a.pth', arrays | classifier, wrapped)
    told = check_encoder(tmp_path, capsys, name, path, arrays, prefix)
    assert ('fpn_aspp_regnetx400mf_bgr_edgeailite takes' in told) == ('regnetx' in name)


@pytest.mark.parametrize('name', ['ddrnet23_slim', 'ddrnet39_aux'])
def test_ddrnets_imagenet_files(shared, tmp_path, capsys, name):
    """Both branches and what joins them, but no pyramid pooling and no heads."""
    shapes = shapes_of(shared, name)
    heads = re.compile('(spp|final_layer|seghead_extra)[.]')
    arrays = seeded({n: s for n, s in shapes.items() if not heads.match(n)})
    classifier = {
        'down5.0.weight': np.ones((8, 8, 3, 3)),
        **batch_norm('down5.1', 8),
        **batch_norm('last_layer.0', 8),
        **linear('linear', 1000, 2048),
    }
    path = write(tmp_path / 'a.pth', arrays | classifier, 'state_dict', 'module.')
    check_encoder(tmp_path, capsys, name, path, arrays, '')


def as_torchvision(name):
    """pycls's name of a parameter of RegNetX, as torchvision's."""
    name = name.replace('stem.conv.', 'stem.0.').replace('stem.bn.', 'stem.1.')
    block = re.match(r's(\d)\.b(\d+)\.(.*)', name)
    if block:
        stage, number, rest = block.groups()
        rest = re.sub(r'^f\.([abc])\.', r'f.\1.0.', rest)
        rest = re.sub(r'^f\.([abc])_bn\.', r'f.\1.1.', rest)
        rest = re.sub(r'^bn\.', 'proj.1.', re.sub(r'^proj\.', 'proj.0.', rest))
        name = f'trunk_output.block{stage}.block{stage}-{int(number) - 1}.{rest}'
    return name


def test_torchvisions_regnetx_400mf_is_another(tmp_path, capsys):
    widths = {'trunk_output.block4.block4-0.proj.0.weight': np.ones((400, 160, 1, 1))}
    options = '-i', write(tmp_path / 'a.pth', widths), '-o', tmp_path / 'a.h5'
    message = "torchvision's RegNetX-400MF, whose last stage has 400 channels"
    refused(capsys, message, 'fpn_aspp_regnetx400mf_edgeailite', *options)


def test_torchvisions_regnet(shared, tmp_path, capsys):
    name, prefix = 'fpn_aspp_regnetx800mf_edgeailite', 'encoder.features.'
    arrays = encoder_of(shared, name, prefix)
    theirs = {as_torchvision(n): a for n, a in arrays.items()}
    # Written out from torchvision's documentation of its modules, not derived.
    assert {
        'stem.0.weight',
        'stem.1.running_var',
        'trunk_output.block1.block1-0.proj.0.weight',
        'trunk_output.block1.block1-0.proj.1.bias',
        'trunk_output.block4.block4-4.f.c.1.running_mean',
        'trunk_output.block3.block3-6.f.b.0.weight',
    } <= theirs.keys()
    path = write(tmp_path / 'a.pth', theirs | linear('fc', 1000, 672))
    check_encoder(tmp_path, capsys, name, path, arrays, prefix)


def refused(capsys, message, name, *options):
    assert convert('--network', name, *options) == 2
    told = capsys.readouterr().err
    assert re.search(message, told), told
    assert len(told.splitlines()) == 1


def test_a_torchvision_resnet_fits_nothing(shared, tmp_path, capsys):
    arrays = encoder_of(shared, 'csail_resnet18dilated8_c1_deepsup', 'encoder.')
    arrays = {n: a for n, a in arrays.items() if n.startswith('layer')}
    arrays |= {'conv1.weight': np.ones((64, 3, 7, 7)), **batch_norm('bn1', 64)}
    path = write(tmp_path / 'a.pth', arrays | linear('fc', 1000, 512))
    for name in ('csail_resnet18dilated8_c1_deepsup', 'dabnet_r18_p2', 'ddrnet23'):
        options = '-i', path, '-o', tmp_path / 'a.h5'
        refused(capsys, 'a torchvision ResNet, which fits no network here', name, *options)
        refused(capsys, 'a torchvision ResNet', name, *options, '--partial')
    assert not (tmp_path / 'a.h5').exists()


@pytest.mark.parametrize('name', ['ddrnet23_slim_aux', 'unet_aspp_mobilenetv2_tv_edgeailite'])
def test_another_number_of_classes(tmp_path, capsys, name):
    """Also where more than the last layer depends on it."""
    from models.convert import matching

    arrays = seeded(matching.network_shapes(name, 11))
    path, target = write(tmp_path / 'a.pth', arrays), tmp_path / 'a.h5'
    options = '-i', path, '-o', target
    refused(capsys, f'11 classes, not 19; pass --network {name} --num-classes 11', name, *options)
    assert not target.exists()
    assert convert('--network', name, *options, '--num-classes', '11') == 0
    expected = models.convert.from_pytorch(name, arrays)
    assert_same(target, expected)
    assert convert('--network', name, *options, '--partial') == 0
    assert 'for another number of classes' in capsys.readouterr().out
    own = matching.network_shapes(name)
    same = {n: a for n, a in arrays.items() if own[n] == a.shape}
    assert len(same) < len(arrays)
    assert_same(target, models.convert.from_pytorch(name, same))


def test_another_network_is_named(shared, tmp_path, capsys):
    arrays = seeded(shapes_of(shared, 'ddrnet23_slim_aux'))
    path, target = write(tmp_path / 'a.pth', arrays, 'state_dict', 'model.'), tmp_path / 'a.h5'
    for asked in ('ddrnet23_slim', 'csail_resnet50_upernet'):
        message = f'not of {asked}, and fits ddrnet23_slim_aux: --network ddrnet23_slim_aux$'
        refused(capsys, message, asked, '-i', path, '-o', target)
    refused(capsys, 'fits ddrnet23_slim_aux', 'dabnet_e', '-i', path, '-o', target, '--partial')
    assert not target.exists()
    assert convert('--network', 'ddrnet23_slim', '-i', path, '-o', target, '--partial') == 0
    told = capsys.readouterr().out
    assert 'skipped, not in the network (11): model.seghead_extra.' in told
    wanted = {n: a for n, a in arrays.items() if not n.startswith('seghead_extra.')}
    assert_same(target, models.convert.from_pytorch('ddrnet23_slim', wanted))


def test_an_encoder_of_another_network_is_named(shared, tmp_path, capsys):
    arrays = encoder_of(shared, 'csail_resnet50_upernet', 'encoder.')
    path = write(tmp_path / 'a.pth', arrays | linear('fc', 1000, 2048))
    options = '-i', path, '-o', tmp_path / 'a.h5'
    refused(capsys, 'the encoder of csail_resnet50_', 'csail_resnet18_upernet', *options)


def test_another_network_with_other_classes_is_named(tmp_path, capsys):
    from models.convert import matching

    arrays = seeded(matching.network_shapes('dabnet_r18_p2', 150))
    options = '-i', write(tmp_path / 'a.pth', arrays), '-o', tmp_path / 'a.h5'
    message = 'fits dabnet_r18_p2: --network dabnet_r18_p2 --num-classes 150'
    refused(capsys, message, 'dabnet_r18_p4', *options)


def test_what_is_of_no_network_is_told(tmp_path, capsys):
    path = write(tmp_path / 'a.pth', linear('fc', 3, 4))
    options = '-i', path, '-o', tmp_path / 'a.h5'
    message = 'does not match ddrnet23: .* missing: .*; 2 not in the network: fc.weight, fc.bias'
    refused(capsys, message, 'ddrnet23', *options)
    refused(capsys, message, 'ddrnet23', *options, '--partial')


def test_a_truncated_state_is_told_and_partially_converted(shared, tmp_path, capsys):
    arrays = seeded(shapes_of(shared, 'ddrnet23_slim'))
    del arrays['layer1.0.conv1.weight']
    arrays['layer1.0.conv9.weight'] = np.ones(3)
    options = '-i', write(tmp_path / 'a.pth', arrays), '-o', tmp_path / 'a.h5'
    message = (
        '1 missing: layer1.0.conv1.weight; 1 not in the network: layer1.0.conv9.weight; '
        '--partial converts the 277 matching arrays'
    )
    refused(capsys, message, 'ddrnet23_slim', *options)
    assert convert('--network', 'ddrnet23_slim', *options, '--partial') == 0
    assert len(weights.read(tmp_path / 'a.h5')) == 277
    refused(capsys, '--check needs a whole', 'ddrnet23_slim', *options, '--partial', '--check')


def test_a_shape_that_is_not_of_classes_is_an_error(shared, tmp_path, capsys):
    arrays = seeded(shapes_of(shared, 'ddrnet23_slim'))
    arrays['layer1.0.conv1.weight'] = np.ones((32, 32, 1, 1))
    options = '-i', write(tmp_path / 'a.pth', arrays), '-o', tmp_path / 'a.h5'
    for more in ([], ['--partial']):
        message = '1 with another shape: layer1.0.conv1.weight'
        refused(capsys, message, 'ddrnet23_slim', *options, *more)


def test_half_of_two_files(shared, tmp_path, capsys):
    """A decoder alone needs its encoder; twice the same file is a mistake."""
    name = 'csail_resnet18dilated8_ppm_deepsup'
    path = write(tmp_path / 'a.pth', encoder_of(shared, name, 'decoder.'))
    options = '-i', path, '-o', tmp_path / 'a.h5'
    refused(capsys, 'it lacks the encoder; pass the file of that as well', name, *options)
    refused(capsys, '34 arrays occur twice', name, *options, '-i', path)
    assert convert('--network', name, *options, '--partial') == 0
    assert all(n.startswith('decoder/') for n in weights.read(tmp_path / 'a.h5'))
