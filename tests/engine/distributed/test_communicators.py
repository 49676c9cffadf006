"""Communicators: the order of synchronized batch norms, and GPUs that cannot be connected."""

import nnabla as nn
import pytest

import models
from common.errors import UserError
from engine.device import extension
from engine.device.context import DeviceChoice
from engine.device.extension.findings import Findings
from engine.distributed import communicators
from layers import functions as L
from support import programs, stand_ins

ONE_OF_EACH_FAMILY = (
    'd3net_t',
    'ddrnet23_slim_aux',
    'dabnet_r18_p2',
    'csail_resnet18dilated8_ppm_deepsup',
    'csail_resnet50_upernet',
    'fpn_aspp_regnetx400mf_edgeailite',
)
SIZES = ((1, 1), (1, 3), (2, 1), (3, 3), (4, 7))  # in units of a network's smallest size


class TwoProcesses:
    """A stand-in for the communicator of two processes."""

    size, nnabla = 2, None


def check_order(name, **changes):
    """Check that a network's order of batch norms is the same for all image sizes."""
    network, orders = models.create(name, **changes), set()
    unit = max(network.info.smallest_size, network.info.size_divisor)
    unit = -(-unit // network.info.size_divisor) * network.info.size_divisor
    for size in SIZES:
        image = nn.Variable((2, 3 * network.info.inputs, *(unit * n for n in size)))
        with stand_ins.zero_parameters():
            options = {'task_taps': {}} if changes else {}
            outputs = network(image, train=True, communicator=TwoProcesses(), **options)
        loss = sum((L.mean_all(y) for y in outputs[1:]), L.mean_all(outputs[0]))
        orders.add(communicators.sync_batch_norm_order(loss))
    (order,) = orders
    names = nn.get_parameters(grad_only=False)
    layers = [n.removesuffix('/beta') for n in names if n.endswith('/bn/beta')]
    assert sorted(order) == sorted(2 * layers)  # forward and backward


@pytest.mark.parametrize('name', ONE_OF_EACH_FAMILY)
def test_the_order_of_batch_norms_does_not_depend_on_the_size_of_images(name):
    check_order(name)


@pytest.mark.parametrize('decoder', ['deeplabv3plus', 'unet_aspp', 'fpn128'])
def test_the_order_of_batch_norms_with_two_inputs_and_three_tasks(decoder):
    tasks = ['depth', 'segmentation', 'motion']
    changes = dict(inputs=2, tasks=tasks, task_channels=[1, 5, 2], decoder_chan=32, aspp_chan=32)
    check_order(f'{decoder}_mobilenetv2_tv_edgeailite', **changes)


@pytest.mark.whole_registry
@pytest.mark.parametrize('name', sorted(set(models.names()) - set(ONE_OF_EACH_FAMILY) - {'d3net'}))
def test_the_order_of_batch_norms_in_every_network(name):
    check_order(name)


@programs.without_cuda
def test_gpus_that_nccl_cannot_connect_are_refused(monkeypatch):
    """The job is also refused if NCCL connects fewer processes than MPI."""

    class FakeCommunicator:
        size, local_rank = 1, 0

        def __init__(self, context):
            pass

        def init(self):
            pass

    def refuses(self):
        raise RuntimeError('NCCL error\nno such device')

    processes = type('Two', (), {'size': 2, 'local_rank': 0})()
    monkeypatch.setattr(communicators, 'get_extension_context', lambda *_, **__: None)
    monkeypatch.setattr('nnabla.communicators.MultiProcessCommunicator', FakeCommunicator)
    with pytest.raises(UserError, match='2 processes, but NCCL connects 1'):
        communicators.connect(processes, DeviceChoice('cudnn', 'float'))
    monkeypatch.setattr(FakeCommunicator, 'size', 2)
    assert isinstance(
        communicators.connect(processes, DeviceChoice('cudnn', 'float')),
        communicators.NcclCommunicator,
    )
    monkeypatch.setattr(FakeCommunicator, 'local_rank', 1)  # as where two machines share a name
    for device in (0, 1):
        message = f'process {1 - device} of a machine .* this process uses GPU {device}: let every'
        with pytest.raises(UserError, match=message):
            communicators.connect(processes, DeviceChoice('cudnn', 'float', device=device))
    monkeypatch.setattr(FakeCommunicator, 'init', refuses)
    with pytest.raises(
        UserError, match=r'cannot create a communicator .*\(is not registered: nnabla-'
    ):
        communicators.connect(processes, DeviceChoice('cudnn', 'float'))
    registered = Findings(registered=('cuda:float',))
    monkeypatch.setattr(extension, 'examine', lambda: registered)
    with pytest.raises(UserError, match=r'cannot create a communicator .*\(no such device\)'):
        communicators.connect(processes, DeviceChoice('cudnn', 'float'))
