"""A user's own network: a command needs only this file and ``--import``."""

import re
from dataclasses import dataclass

import models
from common.sections import Section, SectionError, config_key
from layers import functions as L


@dataclass(frozen=True, kw_only=True)
class OwnKeys(Section):
    """Hyper-parameters of the user's network."""

    widths: tuple[int, ...] = config_key((6, 8), 'channels of each layer', least=1)
    skip: bool = config_key(False, 'whether the last layer is added to the layer before')


def graph(x, build, *, num_classes, widths, skip):
    with L.scope('encoder'):
        for i, width in enumerate(widths):
            before = x
            x = L.convolution(x, width, 3, f'{i}/conv', build, stride=2 if i < 2 else 1, bias=False)
            x = L.bn_relu(x, f'{i}/bn', build)
    return [L.convolution(x + before if skip else x, num_classes, 1, 'classifier', build)]


def complete(hyper):
    widths = hyper['widths']
    if hyper['skip'] and (len(widths) < 3 or widths[-1] != widths[-2]):
        raise SectionError('skip', 'the last two layers must have the same width and size')
    return hyper


def info(hyper):
    return models.NetworkInfo(
        num_classes=hyper['num_classes'], channel_order='bgr', size_divisor=4, paper='none yet'
    )


models.register(
    models.Family(
        name='own',
        graph=graph,
        variants={
            'own_net': dict(num_classes=5),
            'own_net_skip': dict(num_classes=5, widths=(6, 8, 8), skip=True),
        },
        info=info,
        keys=OwnKeys,
        complete=complete,
        original=models.Original(
            encoder=re.compile(r'encoder\.'),
            renamings=(((r'^layer(\d)\.', r'encoder.\1.'),),),
            statistics={
                'own_grey': dict(mean=(128.0,) * 3, std=(64.0,) * 3, channel_order='bgr'),
            },
            statistics_of_names={'grey-': 'own_grey'},
        ),
        published=(
            models.Published('Own-Net.h5', 'own_net', 'street scenes', ('https://example.org/',)),
        ),
    )
)
