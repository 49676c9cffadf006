"""Published files: the facts in their entries, and the commands that convert checkpoints."""

import shlex

import cv2
import numpy as np
import pytest

import infer
import models
from common.command import run_command
from models import weights
from models.convert import matching
from models.family import IMAGENET_ENCODER
from models.weights import published
from support import stand_ins
from support.checkpoint_writer import Checkpoint
from support.conversions import assert_holds, convert, save, seeded

COMMAND = 'convert it first: python -m models.convert '
TI = 'unet_aspp_mobilenetv2_edgeailite_512x512_20210407_checkpoint.pth'
CSAIL = 'baseline-resnet18dilated-c1_deepsup'


def test_all_published_files_of_d3net_are_listed():
    own = models.family_of('d3net').published
    assert {p.file for p in own} == {
        'D3Net-L.h5',
        'D3Net-S.h5',
        'D3Net-L-pretrained-backbone.h5',
        'D3Net-S-pretrained-backbone.h5',
    }
    assert all(p.mirrors for p in own)


def test_entries_of_published_files_are_consistent():
    names = [p.file for p in published.files()]
    assert len(set(names)) == len(names)
    for entry in published.files():
        assert bool(entry.mirrors) != bool(entry.page), entry.file
        addresses = entry.mirrors or (entry.page,)
        assert all(a.startswith(('http://', 'https://')) for a in addresses)
        assert published.networks_of(entry) or entry.obstacle, entry.file
        assert not entry.halves or entry.file.split('/')[-1] in entry.halves


def conversion_options(path):
    """Return the options of models.convert in the error about a checkpoint loaded as weights."""
    with pytest.raises(models.ModelError) as caught:
        weights.load(path)
    before, _, command = str(caught.value).partition(COMMAND)
    assert before == f'{path} is a checkpoint of PyTorch; '
    return shlex.split(command)


def assert_converts(options, name, arrays):
    """Assert that these options convert a checkpoint to exactly these arrays."""
    assert convert(*options) == 0
    assert_holds(options[options.index('-o') + 1], models.convert.from_pytorch(name, arrays))


def test_the_command_for_a_file_of_other_classes(tmp_path):
    name = 'unet_aspp_mobilenetv2_tv_edgeailite'
    arrays = seeded(matching.network_shapes(name, 21))
    options = conversion_options(save(tmp_path / TI, arrays, 'state_dict', 'module.'))
    assert_converts(options, name, arrays)
    matching.register(models.create(name, num_classes=21))
    weights.load(options[options.index('-o') + 1])


def test_the_command_for_a_network_in_two_files(tmp_path):
    name = 'csail_resnet18dilated8_c1_deepsup'
    arrays = seeded(matching.network_shapes(name))
    found = []
    for half in ('encoder', 'decoder'):
        own = {n.removeprefix(f'{half}.'): a for n, a in arrays.items() if n.startswith(half)}
        path = save(tmp_path / CSAIL / f'{half}_epoch_20.pth', own, 'state_dict')
        found.append(conversion_options(path))
    assert found[0] == found[1]
    assert_converts(found[0], name, arrays)


def test_the_command_for_an_encoder(tmp_path):
    """The command names one of several networks; the arrays are the same for all."""
    shapes = matching.network_shapes('unet_aspp_mobilenetv2_tv_edgeailite')
    encoder = seeded({n: s for n, s in shapes.items() if n.startswith('encoder.')})
    arrays = {n.removeprefix('encoder.'): a for n, a in encoder.items()}
    path = save(tmp_path / 'mobilenet_v2-b0353104.pth', arrays, 'state_dict')
    assert_converts(conversion_options(path), 'unet_aspp_mobilenetv2_tv_edgeailite', encoder)


def test_a_published_checkpoint_segments_a_photo(tmp_path, small_photo, capsys):
    """DDRNet's file as its authors' trainer saves it: network and loss in one module."""
    arrays = seeded(matching.network_shapes('ddrnet23_slim_aux'))
    checkpoint = Checkpoint()
    tree = checkpoint.state(arrays, 'model.') | {
        'loss.criterion.weight': checkpoint.tensor(np.ones(19))
    }
    path = checkpoint.save(tmp_path / 'best_val_smaller.pth', tree, legacy=True)
    target = tmp_path / 'ddrnet23_slim.h5'
    assert convert('--network', 'ddrnet23_slim_aux', '-i', path, '-o', target, '--check') == 0
    printed = capsys.readouterr().out
    assert 'arrays of a loss (1)' in printed
    assert 'predicted classes: ' in printed
    options = ['-i', small_photo, '-cfg', 'configs/DDRNet23slim_cityscapes.yaml']
    options += ['-m', target, '-o', tmp_path / 'result.png', '-c', 'cpu', '--backend', 'nnabla']
    with stand_ins.zero_parameters():
        assert run_command(infer.build_parser, infer.main, [str(option) for option in options]) == 0
    assert cv2.imread(str(tmp_path / 'result.png')).shape == (90, 120, 3)


def encoder_shapes(name):
    pattern = models.family_of(name).original.encoder
    return {n: s for n, s in matching.network_shapes(name).items() if pattern.match(n)}


def encoder_cases():
    """Return every published encoder; those of large families are for `make test-all`."""
    for entry in published.files():
        if entry.task == IMAGENET_ENCODER and not entry.obstacle:
            family = models.family_of(published.networks_of(entry)[0])
            marks = [pytest.mark.whole_registry] if len(family.variants) > 10 else []
            yield pytest.param(entry, id=entry.file, marks=marks)


@pytest.mark.parametrize('entry', list(encoder_cases()))
def test_an_entry_lists_all_networks_with_its_encoder(entry):
    """All have the same encoder, and no other network of the family has it."""
    names = published.networks_of(entry)
    shapes = encoder_shapes(names[0])
    same = [n for n in models.family_of(names[0]).variants if encoder_shapes(n) == shapes]
    assert same == names


def test_a_file_without_a_network_is_refused_with_the_reason(tmp_path):
    for name, reason in (
        ('ade20k-hrnetv2-c1/encoder_epoch_30.pth', 'no network of this project has this encoder'),
        ('fpn_aspp_mobilenetv2_edgeailite_512x512_20210306_outby4.onnx', 'as ONNX only'),
    ):
        with pytest.raises(models.ModelError, match=f'it is published, but .*{reason}'):
            weights.find(tmp_path / name)
        path = save(tmp_path / name, {'a.weight': np.ones(3)}, 'state_dict')
        with pytest.raises(models.ModelError, match=f'cannot be used: .*{reason}'):
            weights.load(path)
