"""D3Net among the families; the network itself is in :mod:`d3net.network`."""

from d3net import network
from models.family import IMAGENET, Family, NetworkInfo

NAME = 'd3net'  # also the network all of whose hyper-parameters are given


def _info(hyper) -> NetworkInfo:
    return NetworkInfo(
        num_classes=hyper['num_classes'],
        **IMAGENET,
        size_divisor=1,
        smallest_size=network.smallest_size(hyper),
        paper=network.PAPER,
    )


FAMILY = Family(
    name=NAME,
    graph=network.d3net,
    keys=network.D3NetKeys,
    variants={NAME: {}}
    | {
        name: dict(hyper, num_classes=11 if name == 'd3net_t' else 19)
        for name, hyper in network.VARIANTS.items()
    },
    complete=network.complete,
    info=_info,
    momentum_form='nnabla',
)
