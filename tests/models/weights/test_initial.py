"""A network with several inputs and tasks starts from files with fewer, block by block."""

import nnabla as nn
import numpy as np
import pytest

import models
from models import weights
from models.convert import matching
from support import stand_ins

MOBILENET, REGNET = 'deeplabv3plus_mobilenetv2_tv', 'fpn_aspp_regnetx400mf'
THREE = dict(inputs=2, tasks=['depth', 'segmentation', 'motion'], task_channels=[1, 19, 2])


def registered(name, **changes):
    """Register the seeded parameters of a network; return it and their values."""
    nn.clear_parameters()
    network = models.create(f'{name}_edgeailite', **changes)
    matching.register(network)
    for parameter in nn.get_parameters(grad_only=False).values():
        parameter.data.zero()
    return network, parameters()


def parameters():
    return {n: p.d.copy() for n, p in nn.get_parameters(grad_only=False).items()}


def saved(path, name, start='', **changes):
    """Write a file of random parameters whose names begin with ``start``; return its arrays."""
    registered(name, **changes)
    stand_ins.randomize_parameters()
    for other in [n for n in parameters() if not n.startswith(start)]:
        nn.parameter.pop_parameter(other)
    weights.save(path)
    return parameters()


def without_stream(name):
    """Return the name of a stream's parameter in an encoder of one input, by TI's rule."""
    _, features, stream, block, rest = name.split('/', 4)
    assert stream in ('stream0', 'stream1')
    if rest.startswith(('b', 'conv/conv')):  # a RegNetX
        block = ('stem', 's1', 's2', 's3', 's4')[int(block)]
    return f'encoder/{features}/{block}/{rest}'


@pytest.mark.parametrize('name', [MOBILENET, REGNET])
def test_each_stream_and_each_decoder_starts_from_the_only_one(tmp_path, name):
    arrays = saved(tmp_path / 'a.h5', name)
    network, _ = registered(name, **THREE)
    report = weights.initialise(tmp_path / 'a.h5', 19, network)
    own = parameters()
    random = set()
    for parameter, values in own.items():
        if 'streamfuse' in parameter:
            random.add(parameter)
            continue
        source = 'decoders/0/' + parameter.split('/', 2)[2]
        if parameter.startswith('encoder'):
            source = without_stream(parameter)
        if arrays[source].shape == values.shape:
            assert np.array_equal(values, arrays[source]), parameter
        else:
            random.add(parameter)
    assert set(report.missing) == random
    assert not any(own[n].any() for n in random)
    assert report.extra == []
    assert {n: k for n, k in report.copied.items() if n.startswith('decoders/2/pred/0/0')} == {
        'decoders/2/pred/0/0/conv/W': 'decoders/0/pred/0/0/conv/W'
    }
    assert weights.blocks(report.missing) == [
        'encoder/features/streamfuse (10)',
        'decoders/0/pred (1)',
        'decoders/2/pred (1)',
    ]


def test_both_streams_start_from_an_encoder(tmp_path):
    arrays = saved(tmp_path / 'a.h5', REGNET, 'encoder/')
    network, _ = registered(REGNET, inputs=2)
    report = weights.initialise(tmp_path / 'a.h5', 19, network)
    own = parameters()
    encoder = {n for n in own if n.startswith('encoder/features/stream') and 'fuse' not in n}
    assert encoder == set(report.loaded) == set(report.copied)
    assert all(np.array_equal(own[n], arrays[without_stream(n)]) for n in encoder)
    assert report.missing == [n for n in own if n not in encoder]
    assert weights.blocks(report.missing)[0] == 'encoder/features/streamfuse (10)'


def test_a_file_of_two_tasks_is_taken_by_number_first(tmp_path):
    pair = dict(tasks=['segmentation', 'motion'], task_channels=[19, 2])
    arrays = saved(tmp_path / 'a.h5', MOBILENET, **pair)
    network, _ = registered(MOBILENET, tasks=['segmentation', 'motion', 'edges'],
                            task_channels=[19, 2, 2])  # fmt: skip
    report = weights.initialise(tmp_path / 'a.h5', 19, network)
    own = parameters()
    assert np.array_equal(own['decoders/1/pred/1/0/conv/W'], arrays['decoders/1/pred/1/0/conv/W'])
    copied = {n: n.replace('decoders/2', 'decoders/0') for n in own if n.startswith('decoders/2')}
    last = 'decoders/2/pred/1/0/conv/W'
    assert report.missing == [last]
    assert report.copied == {n: k for n, k in copied.items() if n != last}


def test_a_depth_network_starts_from_segmentation_where_shapes_agree(tmp_path):
    """The last three levels of a UNet are narrower for depth: 32 channels instead of 38.

    Of these the first keeps its 3x3 convolution and norm, 5 arrays of 10.
    """
    saved(tmp_path / 'a.h5', 'unet_aspp_mobilenetv2_tv', num_classes=19)
    network, _ = registered('unet_aspp_mobilenetv2_tv', tasks=['depth'])
    report = weights.initialise(tmp_path / 'a.h5', 1, network)
    assert weights.blocks(report.missing) == ['decoders/0/unet (25)', 'decoders/0/pred (6)']
    assert report.copied == {}


def test_another_encoder_is_refused_and_nothing_is_loaded(tmp_path):
    saved(tmp_path / 'a.h5', MOBILENET)
    network, before = registered('deeplabv3plus_mobilenetv2_tv_1p4', **THREE)
    message = 'a.h5 is of another encoder: encoder/features/0/0/conv/W is 32x3x3x3, and'
    with pytest.raises(models.ModelError, match=message):
        weights.initialise(tmp_path / 'a.h5', 19, network)
    assert all(np.array_equal(values, before[n]) for n, values in parameters().items())
