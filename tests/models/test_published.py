"""The table of published files: what it says of them is so, and the commands that it gives work."""

import shlex

import nnabla as nn
import numpy as np
import pytest

import models
from models import weights
from models.convert import matching
from models.family import IMAGENET_ENCODER
from models.weights import published
from support import programs
from support.checkpoint_writer import Checkpoint
from tests.models.test_convert import assert_same, convert
from tests.models.test_convert_names import seeded

COMMAND = 'convert it first: python -m models.convert '
TI = 'unet_aspp_mobilenetv2_edgeailite_512x512_20210407_checkpoint.pth'
CSAIL = 'ade20k-resnet18dilated-ppm_deepsup'


def save(path, arrays, prefix=''):
    checkpoint = Checkpoint()
    path.parent.mkdir(exist_ok=True)
    return checkpoint.save(path, {'state_dict': checkpoint.state(arrays, prefix)})


def told_command(path):
    """What the error about a checkpoint in place of weights says to run, after its module."""
    with pytest.raises(models.ModelError) as caught:
        weights.load(path)
    before, _, command = str(caught.value).partition(COMMAND)
    assert before == f'{path} is a checkpoint of PyTorch; '
    return shlex.split(command)


def check_converted(command, name, arrays):
    assert convert(*command) == 0
    assert_same(command[command.index('-o') + 1], models.convert.from_pytorch(name, arrays))


def test_the_command_for_a_file_of_other_classes(tmp_path):
    name = 'unet_aspp_mobilenetv2_tv_edgeailite'
    arrays = seeded(matching.network_shapes(name, 21))
    command = told_command(save(tmp_path / TI, arrays, 'module.'))
    check_converted(command, name, arrays)
    models.create(name, num_classes=21)(nn.Variable((1, 3, 32, 32)))
    weights.load(command[command.index('-o') + 1])


@pytest.mark.parametrize('asked', ['encoder', 'decoder'])
def test_the_command_for_a_network_in_two_files(tmp_path, asked):
    name = 'csail_resnet18dilated8_ppm_deepsup'
    arrays = seeded(matching.network_shapes(name))
    paths = {}
    for half in ('encoder', 'decoder'):
        own = {n.removeprefix(f'{half}.'): a for n, a in arrays.items() if n.startswith(half)}
        paths[half] = save(tmp_path / CSAIL / f'{half}_epoch_20.pth', own)
    check_converted(told_command(paths[asked]), name, arrays)


def test_the_command_for_an_encoder(tmp_path):
    """One of several networks is named; the arrays are the same for all."""
    shapes = matching.network_shapes('unet_aspp_mobilenetv2_tv_edgeailite')
    encoder = seeded({n: s for n, s in shapes.items() if n.startswith('encoder.')})
    arrays = {n.removeprefix('encoder.'): a for n, a in encoder.items()}
    command = told_command(save(tmp_path / 'mobilenet_v2-b0353104.pth', arrays))
    check_converted(command, 'unet_aspp_mobilenetv2_tv_edgeailite', encoder)


def test_from_a_published_file_to_a_segmented_photo(tmp_path, small_photo):
    """DDRNet's file as its authors' trainer saves it: the network and the loss in one module."""
    arrays = seeded(matching.network_shapes('ddrnet23_slim_aux'))
    arrays = {n: (a - 0.5) / 10 if a.ndim == 4 else a + 0.5 for n, a in arrays.items()}
    checkpoint = Checkpoint()
    tree = checkpoint.state(arrays, 'model.') | {
        'loss.criterion.weight': checkpoint.tensor(np.ones(19))
    }
    checkpoint.save(tmp_path / 'best_val_smaller.pth', tree, legacy=True)
    process = programs.run(
        '-m', 'models.convert', '--network', 'ddrnet23_slim_aux',
        '-i', tmp_path / 'best_val_smaller.pth', '-o', tmp_path / 'ddrnet23_slim.h5', '--check',
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert 'arrays of a loss (1)' in process.stdout and 'predicted classes: ' in process.stdout
    process = programs.run(
        'infer.py', '-i', small_photo, '-cfg', 'configs/DDRNet23slim_cityscapes.yaml',
        '-m', tmp_path / 'ddrnet23_slim.h5', '-o', tmp_path / 'result.png',
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert (tmp_path / 'result.png').exists()


def encoder_shapes(name):
    pattern = models.family_of(name).original.encoder
    return {n: s for n, s in matching.network_shapes(name).items() if pattern.match(n)}


@pytest.mark.parametrize(
    'entry',
    [p for p in published.files() if p.task == IMAGENET_ENCODER and not p.obstacle],
    ids=lambda entry: entry.file,
)
def test_networks_of_a_published_encoder_have_the_same(entry):
    """And no other network of the family has it, so that none is left out."""
    names = published.networks_of(entry)
    shapes = encoder_shapes(names[0])
    same = [n for n in models.family_of(names[0]).variants if encoder_shapes(n) == shapes]
    assert same == names


def test_what_has_no_network_here_says_so(tmp_path):
    for name, reason in (
        ('ade20k-hrnetv2-c1/encoder_epoch_30.pth', 'no network of this project has this encoder'),
        ('fpn_aspp_mobilenetv2_edgeailite_512x512_20210306_outby4.onnx', 'as ONNX only'),
    ):
        with pytest.raises(models.ModelError, match=f'it is published, but .*{reason}'):
            weights.find(tmp_path / name)
        path = save(tmp_path / name, {'a.weight': np.ones(3)})
        with pytest.raises(models.ModelError, match=f'cannot be used: .*{reason}'):
            weights.load(path)
