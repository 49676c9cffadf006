"""Functions and training graphs for the tests of the comparison with the CPU."""

import nnabla as nn

import models
from engine.training import losses
from engine.training.gpu_check_child import FunctionSpec
from layers import functions as L
from support import stand_ins

SIZE = (64, 96)
CONVOLUTION = {
    'base_axis': 1,
    'pad': [1, 1],
    'stride': [1, 1],
    'dilation': [1, 1],
    'group': 1,
    'channel_last': False,
}


def convolution(**changes):
    """Return a small convolution with changes of its fields."""
    fields = {
        'type': 'Convolution',
        'arguments': CONVOLUTION,
        'shapes': [[2, 4, 6, 7], [4, 4, 3, 3]],
        'values': ['normal', 'normal'],
        'gradients': [True, True],
    }
    return FunctionSpec(**{**fields, **changes})


def loss_of(config=None, **build):
    """Return D3Net's training graph in the form for GPUs, with an auxiliary head."""
    outputs = stand_ins.tiny()(nn.Variable((2, 3, *SIZE)), train=True, **{'cuda': True, **build})
    auxiliary = L.average_pool(outputs[0], 2, L.Build())
    return losses.create(config or {}, 5).build([*outputs, auxiliary], SIZE).loss


def loss_of_tasks(**config):
    """Return the training graph of two pictures and three tasks, with all losses of depths."""
    tasks = {'tasks': ['depth', 'segmentation', 'motion'], 'task_channels': [1, 5, 2]}
    net = models.create(
        'deeplabv3plus_mobilenetv2_tv_edgeailite', inputs=2, depth_range=[0, 128], **tasks
    )
    with stand_ins.zero_parameters():
        outputs = net(nn.Variable((2, 6, *SIZE)), train=True, cuda=True, task_taps={})
    criterion = losses.create_for({**tasks, 'depth_silog_weight': 1.0, **config}, net.info)
    return criterion.build(outputs, SIZE).loss
