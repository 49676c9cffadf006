"""Checkpoints of other networks, classes or parts are explained, and what to do is named."""

import numpy as np
import pytest

import models
from models import weights
from models.convert import matching, recognition
from support.conversions import (
    assert_conversion_refused,
    assert_holds,
    batch_norm,
    convert,
    linear,
    reference_shapes,
    save,
    seeded,
    zeros,
)

UNET = 'unet_aspp_mobilenetv2_tv_edgeailite'

pytestmark = pytest.mark.usefixtures('few_networks')


def test_torchvisions_regnetx_400mf_fits_no_network(tmp_path, capsys):
    widths = {'trunk_output.block4.block4-0.proj.0.weight': np.ones((400, 160, 1, 1))}
    options = '-i', save(tmp_path / 'a.pth', widths), '-o', tmp_path / 'a.h5'
    message = "torchvision's RegNetX-400MF, whose last stage has 400 channels"
    assert_conversion_refused(capsys, message, 'fpn_aspp_regnetx400mf_edgeailite', *options)


def test_torchvisions_resnet_fits_no_network(shared, tmp_path, capsys):
    arrays = zeros(reference_shapes(shared, 'csail_resnet18dilated8_c1_deepsup', 'encoder.'))
    arrays = {n: a for n, a in arrays.items() if n.startswith('layer')}
    arrays |= {'conv1.weight': np.ones((64, 3, 7, 7)), **batch_norm('bn1', 64)}
    path = save(tmp_path / 'a.pth', arrays | linear('fc', 1000, 512))
    message = 'a torchvision ResNet, which fits no network here'
    for name in ('csail_resnet18dilated8_c1_deepsup', 'dabnet_r18_p2', 'ddrnet23'):
        options = '-i', path, '-o', tmp_path / 'a.h5'
        assert_conversion_refused(capsys, message, name, *options)
        assert_conversion_refused(capsys, message, name, *options, '--partial')
    assert not (tmp_path / 'a.h5').exists()


@pytest.mark.parametrize(
    'name',
    [
        'unet_aspp_mobilenetv2_tv_edgeailite',
        pytest.param('ddrnet23_slim_aux', marks=pytest.mark.whole_registry),
    ],
)
def test_another_number_of_classes_is_recognised(tmp_path, capsys, name):
    """In some networks, more than the last layer depends on this number."""
    arrays = seeded(matching.network_shapes(name, 11))
    path, target = save(tmp_path / 'a.pth', arrays), tmp_path / 'a.h5'
    options = '-i', path, '-o', target
    message = f'11 classes, not 19; pass --network {name} --num-classes 11'
    assert_conversion_refused(capsys, message, name, *options)
    assert not target.exists()
    assert convert('--network', name, *options, '--num-classes', '11') == 0
    assert_holds(target, models.convert.from_pytorch(name, arrays))
    assert convert('--network', name, *options, '--partial') == 0
    assert 'for another number of classes' in capsys.readouterr().out
    own = matching.network_shapes(name)
    same = {n: a for n, a in arrays.items() if own[n] == a.shape}
    assert len(same) < len(arrays)
    assert_holds(target, models.convert.from_pytorch(name, same))


def test_heads_of_too_many_classes_are_explained_and_skipped(tmp_path, capsys):
    """No class map can hold 300 classes."""
    own = matching.network_shapes('ddrnet23_slim')
    heads = {name for name in own if name.startswith('final_layer.conv2.')}
    shapes = {name: (300, *shape[1:]) if name in heads else shape for name, shape in own.items()}
    target = tmp_path / 'a.h5'
    options = '-i', save(tmp_path / 'a.pth', zeros(shapes)), '-o', target
    message = '300 classes, but num_classes must be at most 255; --partial skips these heads'
    assert_conversion_refused(capsys, message, 'ddrnet23_slim', *options)
    assert convert('--network', 'ddrnet23_slim', *options, '--partial') == 0
    assert 'for another number of classes (2)' in capsys.readouterr().out
    assert len(weights.read(target)) == len(own) - len(heads)
    options = *options, '--num-classes', '300'
    message = 'num_classes: must be at least 1 and at most 255, not 300'
    assert_conversion_refused(capsys, message, 'ddrnet23_slim', *options)


@pytest.fixture(scope='module')
def slim_aux(shared):
    """Arrays of ddrnet23_slim_aux."""
    return seeded(reference_shapes(shared, 'ddrnet23_slim_aux'))


@pytest.fixture(scope='module')
def slim_aux_file(slim_aux, tmp_path_factory):
    """A checkpoint of ddrnet23_slim_aux."""
    path = tmp_path_factory.mktemp('slim_aux') / 'a.pth'
    return save(path, slim_aux, 'state_dict', 'model.')


def assert_slim_aux_is_named(capsys, path, target):
    for requested in ('ddrnet23_slim', 'csail_resnet50_upernet'):
        message = f'not of {requested}, and fits ddrnet23_slim_aux: --network ddrnet23_slim_aux$'
        assert_conversion_refused(capsys, message, requested, '-i', path, '-o', target)
    options = 'dabnet_e', '-i', path, '-o', target, '--partial'
    assert_conversion_refused(capsys, 'fits ddrnet23_slim_aux', *options)
    assert not target.exists()


def test_another_network_is_named(slim_aux_file, tmp_path, capsys):
    assert_slim_aux_is_named(capsys, slim_aux_file, tmp_path / 'a.h5')


@pytest.mark.whole_registry
def test_another_network_of_all_is_named(slim_aux_file, tmp_path, capsys, monkeypatch):
    monkeypatch.undo()  # the fixture's reduction of the registry
    assert len(models.names()) > 100
    assert_slim_aux_is_named(capsys, slim_aux_file, tmp_path / 'a.h5')


def test_another_network_is_converted_in_part(slim_aux, slim_aux_file, tmp_path, capsys):
    target = tmp_path / 'a.h5'
    options = '--network', 'ddrnet23_slim', '-i', slim_aux_file, '-o', target
    assert convert(*options, '--partial') == 0
    printed = capsys.readouterr().out
    assert 'skipped, not in the network (11): model.seghead_extra.' in printed
    wanted = {n: a for n, a in slim_aux.items() if not n.startswith('seghead_extra.')}
    assert_holds(target, models.convert.from_pytorch('ddrnet23_slim', wanted))


def test_the_encoder_of_another_network_is_named(shared, tmp_path, capsys):
    arrays = zeros(reference_shapes(shared, 'csail_resnet18dilated8_c1_deepsup', 'encoder.'))
    path = save(tmp_path / 'a.pth', arrays | linear('fc', 1000, 512))
    options = '-i', path, '-o', tmp_path / 'a.h5'
    message = 'the encoder of csail_resnet18'
    assert_conversion_refused(capsys, message, 'csail_resnet50_upernet', *options)


def test_another_network_with_other_classes_is_named(tmp_path, capsys):
    arrays = zeros(matching.network_shapes('dabnet_r18_p2', 150))
    options = '-i', save(tmp_path / 'a.pth', arrays), '-o', tmp_path / 'a.h5'
    message = 'fits dabnet_r18_p2: --network dabnet_r18_p2 --num-classes 150'
    assert_conversion_refused(capsys, message, 'dabnet_r18_p4', *options)


def test_arrays_of_no_network_are_listed(tmp_path, capsys):
    path = save(tmp_path / 'a.pth', linear('fc', 3, 4))
    options = '-i', path, '-o', tmp_path / 'a.h5'
    message = 'does not match ddrnet23: .* missing: .*; 2 not in the network: fc.weight, fc.bias'
    assert_conversion_refused(capsys, message, 'ddrnet23', *options)
    assert_conversion_refused(capsys, message, 'ddrnet23', *options, '--partial')


def test_an_incomplete_network_is_explained_and_converted_in_part(shared, tmp_path, capsys):
    arrays = seeded(reference_shapes(shared, 'ddrnet23_slim'))
    del arrays['layer1.0.conv1.weight']
    arrays['layer1.0.conv9.weight'] = np.ones(3)
    options = '-i', save(tmp_path / 'a.pth', arrays), '-o', tmp_path / 'a.h5'
    message = (
        '1 missing: layer1.0.conv1.weight; 1 not in the network: layer1.0.conv9.weight; '
        '--partial converts the 277 matching arrays'
    )
    assert_conversion_refused(capsys, message, 'ddrnet23_slim', *options)
    assert convert('--network', 'ddrnet23_slim', *options, '--partial') == 0
    assert len(weights.read(tmp_path / 'a.h5')) == 277
    message = '--check needs a whole'
    assert_conversion_refused(capsys, message, 'ddrnet23_slim', *options, '--partial', '--check')


def test_a_wrong_shape_that_is_no_head_is_refused(shared, tmp_path, capsys):
    arrays = zeros(reference_shapes(shared, 'ddrnet23_slim'))
    arrays['layer1.0.conv1.weight'] = np.ones((32, 32, 1, 1))
    options = '-i', save(tmp_path / 'a.pth', arrays), '-o', tmp_path / 'a.h5'
    for more in ([], ['--partial']):
        message = '1 with another shape: layer1.0.conv1.weight'
        assert_conversion_refused(capsys, message, 'ddrnet23_slim', *options, *more)


def test_one_of_two_files_is_explained(shared, tmp_path, capsys):
    """A decoder alone needs its encoder; the same file twice is a mistake."""
    name = 'csail_resnet18dilated8_c1_deepsup'
    shapes = reference_shapes(shared, name, 'decoder.')
    path = save(tmp_path / 'a.pth', seeded(shapes))
    options = '-i', path, '-o', tmp_path / 'a.h5'
    assert_conversion_refused(capsys, 'it lacks the encoder; pass the file of', name, *options)
    message = f'{len(shapes)} arrays occur twice'
    assert_conversion_refused(capsys, message, name, *options, '-i', path)
    assert convert('--network', name, *options, '--partial') == 0
    assert all(n.startswith('decoder/') for n in weights.read(tmp_path / 'a.h5'))


def test_wrong_shapes_of_all_kinds_are_no_numbers_of_classes(monkeypatch):
    """To try each would build a network for every array."""
    own = matching.network_shapes(UNET)
    shapes = {name: (2 + i, *shape[1:]) for i, (name, shape) in enumerate(own.items())}
    found = matching.match_arrays([shapes], own)
    monkeypatch.setattr(recognition, 'network_shapes', lambda *_: pytest.fail('it was built'))
    assert recognition.other_class_count(UNET, [shapes], found) is None


def test_files_with_many_other_arrays_match_no_network(monkeypatch):
    """The largest network has fewer arrays, and need not be compared."""
    shapes = dict(matching.network_shapes(UNET)) | {f'x{i}.w': (1,) for i in range(5000)}
    monkeypatch.setattr(recognition, 'match_arrays', lambda *_: pytest.fail('it was compared'))
    assert recognition.recognise([shapes], UNET) is None


def test_long_names_are_shortened():
    shapes = {'a' * 900: (1,), 'b': (2,)}
    found = matching.match_arrays([shapes], {'c': (1,)})
    text = recognition.describe_mismatches(found)
    assert text == f'1 missing: c; 2 not in the network: {"a" * 197}..., b'
