"""Weights load completely or not at all; saving keeps the old file until the new one is whole."""

import h5py
import nnabla as nn
import numpy as np
import pytest

import models
from common.errors import UserError
from models import weights
from models.convert import matching
from support import programs, stand_ins
from support.registered_parameters import assert_refused, assert_same, parameters

pytestmark = pytest.mark.usefixtures('few_networks')


def test_saved_weights_load_into_an_existing_graph(network, tmp_path):
    x = nn.Variable.from_numpy_array(np.ones((1, 3, 32, 32), np.float32))
    y = network(x)[0]
    y.forward()
    expected, saved = y.d.copy(), parameters()
    weights.save(tmp_path / 'a.h5')
    stand_ins.randomize_parameters(seed=1)
    y.forward()
    assert not np.array_equal(y.d, expected)
    report = weights.load(tmp_path / 'a.h5')
    assert (len(report.loaded), report.missing, report.extra) == (len(saved), [], [])
    assert_same(parameters(), saved)
    y.forward()
    assert np.array_equal(y.d, expected)


def test_a_file_of_nnabla_itself_loads(network, tmp_path):
    saved = parameters()
    nn.save_parameters(str(tmp_path / 'a.h5'))
    stand_ins.randomize_parameters(seed=1)
    weights.load(tmp_path / 'a.h5')
    assert_same(parameters(), saved)


def test_a_full_disk_keeps_the_old_file(network, tmp_path):
    weights.save(tmp_path / 'a.h5')
    before = (tmp_path / 'a.h5').read_bytes()
    with programs.full_disk(5000), pytest.raises(UserError, match='a.h5: cannot be written'):
        weights.save(tmp_path / 'a.h5')
    assert (tmp_path / 'a.h5').read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ['a.h5']


def test_float64_arrays_do_not_change_the_type_of_parameters(network):
    weights.load({name: array.astype(np.float64) for name, array in parameters().items()})
    assert {p.d.dtype for p in nn.get_parameters(grad_only=False).values()} == {np.dtype('f4')}


def test_missing_unknown_and_wrongly_shaped_parameters_are_listed(network):
    arrays = parameters()
    del arrays['backbone/conv1/conv/W']
    arrays['backbone/conv9/conv/W'] = np.zeros(3)
    arrays['decode_head/conv_seg/conv/W'] = np.zeros((5, 11, 1, 1))
    assert_refused(
        arrays,
        '1 missing: backbone/conv1/conv/W; 1 unknown: backbone/conv9/conv/W; '
        r'1 with another shape: decode_head/conv_seg/conv/W \(5x11x1x1 instead of 5x10x1x1\)',
    )


def test_another_number_of_classes_is_recognised(network):
    arrays = parameters()
    arrays['decode_head/conv_seg/conv/W'] = np.zeros((19, 10, 1, 1))
    arrays['decode_head/conv_seg/conv/b'] = np.zeros(19)
    assert_refused(arrays, 'it has 19 classes and the network has 5: set num_classes to 19, or')
    assert_refused(arrays, 'it has 19 classes and the network has 5', strict=False)


def test_a_backbone_without_its_prefix_loads_partially(network, tmp_path):
    saved = parameters()
    with nn.parameter_scope('backbone'):
        nn.save_parameters(str(tmp_path / 'backbone.h5'))
    stand_ins.randomize_parameters(seed=1)
    assert_refused(tmp_path / 'backbone.h5', 'the backbone alone.*--partial')
    head = {n: a for n, a in parameters().items() if n.startswith('decode_head/')}
    report = weights.load(tmp_path / 'backbone.h5', strict=False)
    assert report.missing == list(head)
    assert report.extra == []
    assert_same(parameters(), {n: head.get(n, a) for n, a in saved.items()})


def write(path, arrays):
    """Write a file of these arrays as NNabla does."""
    with h5py.File(path, 'w') as file:
        for number, (name, array) in enumerate(arrays.items()):
            file[name] = array
            file[name].attrs.update({'need_grad': True, 'index': number})
    return path


def test_a_training_starts_from_a_network_or_a_backbone(network, tmp_path):
    """The names of a backbone may lack the prefix."""
    saved = parameters()
    backbone = {n.removeprefix('backbone/'): a for n, a in saved.items() if n[:9] == 'backbone/'}
    for arrays in (saved, backbone):
        path = write(tmp_path / 'arrays.h5', arrays)
        stand_ins.randomize_parameters(seed=1)
        head = {
            n: a for n, a in parameters().items() if n[:9] != 'backbone/' and arrays is backbone
        }
        report = weights.initialise(path, 5)
        assert report.missing == list(head)
        assert report.extra == []
        assert_same(parameters(), saved | head)


def test_a_training_ignores_a_head_for_other_classes(network, tmp_path):
    """Only the weights and biases of the head keep their values, and it is reported."""
    arrays = {name: array + 1 for name, array in parameters().items()}
    head = ['decode_head/conv_seg/conv/W', 'decode_head/conv_seg/conv/b']
    arrays[head[0]], arrays[head[1]] = np.zeros((19, 10, 1, 1)), np.zeros(19)
    before = parameters()
    report = weights.initialise(write(tmp_path / 'nineteen.h5', arrays), 5)
    assert report.missing == head
    assert report.extra == []
    assert_same(parameters(), arrays | {name: before[name] for name in head})


def test_a_training_does_not_start_from_other_weights(network, tmp_path):
    """Other widths are not other classes; nothing is loaded, and the file is named."""
    before = parameters()
    narrow, of_other_width = dict(before), dict(before)
    narrow['backbone/conv1/conv/W'] = np.zeros((6, 3, 3, 3))
    narrow['backbone/bn1/bn/gamma'] = np.zeros((1, 6, 1, 1))
    of_other_width['decode_head/conv_seg/conv/W'] = np.zeros((19, 12, 1, 1))
    foreign = {'fc/W': np.zeros((3, 4))}
    for arrays, message in (
        (narrow, r'backbone/conv1/conv/W \(6x3x3x3 instead of 8x3x3x3\)'),
        (of_other_width, r'decode_head/conv_seg/conv/W \(19x12x1x1 instead of 5x10x1x1\)'),
        (foreign, 'no name in it is in the network'),
    ):
        path = write(tmp_path / 'arrays.h5', arrays)
        with pytest.raises(models.ModelError, match=message) as caught:
            weights.initialise(path, 5)
        assert str(caught.value).startswith(f'{path} does not fit the network, nothing was loaded')
        assert_same(parameters(), before)


def test_weights_without_a_common_name_are_refused_even_partially(network):
    assert_refused({'fc/W': np.zeros(3)}, 'no name in it is in the network.*fc/W', strict=False)


def test_loading_before_the_graph_exists_is_explained():
    with pytest.raises(models.ModelError, match='build its graph first'):
        weights.load({'a/W': np.zeros(3)})


@pytest.mark.parametrize(
    'file, changes, network, message',
    [
        ('ddrnet23_slim_aux', {}, 'dabnet_e', r'it is of ddrnet23_slim_aux \(does the config'),
        ('ddrnet23_slim', {}, 'ddrnet23', 'it is of ddrnet23_slim '),
        ('ddrnet23', {'num_classes': 7}, 'ddrnet23_aux', 'it is of ddrnet23 with 7 classes '),
        ('d3net_s', {}, 'ddrnet23_slim', 'it is of d3net_s '),
        (
            'fpn_aspp_regnetx400mf_edgeailite',
            {},
            'unet_aspp_regnetx800mf_edgeailite',
            'it is of fpn_aspp_regnetx400mf_edgeailite or fpn_aspp_regnetx400mf_fd_edgeailite or ',
        ),
    ],
)
def test_the_network_of_other_weights_is_named(file, changes, network, message):
    matching.register(models.create(file, **changes))
    shapes = {n: p.shape for n, p in nn.get_parameters(grad_only=False).items()}
    arrays = {n: np.broadcast_to(np.float32(0), shape) for n, shape in shapes.items()}
    nn.clear_parameters()
    matching.register(models.create(network))
    with pytest.raises(models.ModelError, match=f'nothing was loaded: {message}'):
        weights.load(arrays)
