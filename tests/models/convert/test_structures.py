"""Checkpoints with several inputs and tasks: converted, recognised, explained."""

import numpy as np
import pytest

import models
from models import weights
from models.convert import matching, structures
from models.structure import SINGLE, Structure
from support.conversions import (
    assert_conversion_refused,
    assert_holds,
    convert,
    save,
    seeded,
    zeros,
)

UNET, OTHER = 'unet_aspp_mobilenetv2_tv_edgeailite', 'unet_aspp_regnetx800mf_edgeailite'
PAIR = Structure(2, (1, 19, 2))
OF_PAIR = [
    *('--inputs', '2', '--tasks', 'depth', 'segmentation', 'motion'),
    *('--task-channels', '1', '19', '2'),
]

pytestmark = pytest.mark.usefixtures('few_networks')


@pytest.fixture(scope='module')
def arrays():
    return seeded(matching.network_shapes(UNET, None, PAIR))


def test_a_checkpoint_of_two_inputs_and_three_tasks_there_and_back(arrays, tmp_path, capsys):
    path = save(tmp_path / 'a.pth', arrays, 'state_dict', 'module.')
    target, back = tmp_path / 'a.h5', tmp_path / 'a.npz'
    command = ('--network', UNET, *OF_PAIR)
    assert convert(*command, '-i', path, '-o', target, '--check') == 0
    printed = capsys.readouterr().out
    assert 'depth, depth from' in printed and 'motion, logits from' in printed
    assert printed.count('predicted classes: ') == 2
    assert_holds(target, models.convert.from_pytorch(UNET, arrays))
    assert convert(*command, '-i', target, '--to-pytorch', back) == 0
    with np.load(back) as state:
        assert {n: state[n].tolist() for n in state} == {n: a.tolist() for n, a in arrays.items()}


@pytest.mark.parametrize(
    'shapes_of, options, message',
    [
        (
            (UNET, None, PAIR),
            [],
            r'it has 2 inputs and 3 tasks \(channels 1, 19, 2\), not 1 input and 1 task; pass '
            f'--network {UNET} {" ".join(OF_PAIR)}, with your own names',
        ),
        (
            (UNET, None, Structure(1, (1, 1))),
            ['--tasks', 'depth', '--task-channels', '1'],
            r'it has 1 input and 2 tasks \(channels 1, 1\), not 1 input and 1 task .*; pass '
            f'--network {UNET} --tasks depth second_depth --task-channels 1 1,',
        ),
        (
            (UNET, 21),
            OF_PAIR,
            'it fits a network with 1 input and 1 task, not 2 inputs and 3 tasks .*; convert it '
            f'with --network {UNET} --num-classes 21 alone, and let train.py -p start from',
        ),
        (
            (OTHER, None, PAIR),
            OF_PAIR,
            f'it is not of {UNET}, and fits {OTHER}: --network {OTHER} {" ".join(OF_PAIR)}$',
        ),
    ],
)
def test_other_inputs_and_tasks_are_explained(tmp_path, capsys, shapes_of, options, message):
    path = save(tmp_path / 'a.pth', zeros(matching.network_shapes(*shapes_of)))
    options = [*options, '-i', path, '-o', tmp_path / 'a.h5']
    assert_conversion_refused(capsys, message, UNET, *options)


def test_an_imagenet_encoder_is_converted_without_the_inputs(tmp_path, capsys):
    shapes = matching.network_shapes(UNET)
    encoder = {n: s for n, s in shapes.items() if n.startswith('encoder.')}
    path = save(tmp_path / 'a.pth', zeros(encoder))
    message = 'it is the encoder of a network with 1 input and 1 task, not 2 inputs'
    options = [*OF_PAIR, '-i', path, '-o', tmp_path / 'a.h5']
    assert_conversion_refused(capsys, message, UNET, *options)


def test_weights_for_other_inputs_and_tasks_are_explained(arrays):
    matching.register(models.create(UNET))
    message = rf'it is of {UNET} with 2 inputs and 3 tasks \(channels 1, 19, 2\)'
    with pytest.raises(models.ModelError, match=message):
        weights.load(models.convert.from_pytorch(UNET, arrays))


@pytest.mark.parametrize(
    'names',
    [
        ['encoder.features.stream2.0.0.0.weight'],
        [f'decoders.{k}.pred.1.0.weight' for k in range(5)],
    ],
)
@pytest.mark.parametrize('count', [0, 2, 300])
def test_impossible_inputs_and_tasks_are_not_recognised(names, count):
    shapes = dict.fromkeys(names, (count, 3, 3, 3))
    assert structures.structure_of([shapes]) == SINGLE
    pair = {f'module.decoders.{k}.pred.1.0.weight': (2 + k, 3, 1, 1) for k in (1, 0)}
    assert structures.structure_of([shapes, pair]) == SINGLE
    assert structures.structure_of([pair]) == Structure(1, (2, 3))


def test_names_that_channels_suggest_are_distinct_and_of_their_kinds():
    network = models.create(UNET, **Structure(1, (1, 2, 1, 5)).keywords())
    assert [(task.name, task.kind) for task in network.info.tasks] == [
        ('depth', 'depth'),
        ('motion', 'classes'),
        ('second_depth', 'depth'),
        ('segmentation', 'classes'),
    ]
    assert network.info.structure == Structure(1, (1, 2, 1, 5))
    assert models.create(UNET).info.structure == SINGLE
