"""D3Net as a family of networks; the graph is in :mod:`d3net.network`.

Source of the published files: sony/ai-research-code, d3net/semantic-segmentation/README.md. These
files are NNabla's ``.h5`` files, which need no conversion.
"""

from d3net import network
from models.family import CITYSCAPES, Family, Hyper, NetworkInfo, Published

NAME = 'd3net'  # also the name of the network without default hyper-parameters
SONY = ('https://nnabla.org/pretrained-models/ai-research-code/d3net/semantic-segmentation/',)
PUBLISHED = (
    Published('D3Net-L.h5', 'd3net_l', CITYSCAPES, SONY),
    Published('D3Net-S.h5', 'd3net_s', CITYSCAPES, SONY),
    Published('D3Net-L-pretrained-backbone.h5', 'd3net_l', 'ImageNet, backbone only', SONY),
    Published('D3Net-S-pretrained-backbone.h5', 'd3net_s', 'ImageNet, backbone only', SONY),
)


def _info(hyper: Hyper) -> NetworkInfo:
    return NetworkInfo(
        num_classes=hyper['num_classes'],
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
    published=PUBLISHED,
)
