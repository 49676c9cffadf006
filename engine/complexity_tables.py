"""The table of networks at their usual sizes in Markdown, as it stands in README.md."""

import models
from models import complexity

CITYSCAPES, ADE20K, CAMVID, EDGEAILITE = (1024, 2048), (512, 512), (360, 480), (384, 768)
USUAL = {  # network -> size; Cityscapes' images, crops of ADE20K, CamVid's images, TI's first size
    'd3net_s': CITYSCAPES,
    'd3net_l': CITYSCAPES,
    'd3net_t': CAMVID,
    'ddrnet23_slim': CITYSCAPES,
    'ddrnet23': CITYSCAPES,
    'ddrnet39': CITYSCAPES,
    'dabnet_r18_p1': CITYSCAPES,
    'dabnet_r18_p2': CITYSCAPES,
    'dabnet_r18_p4': CITYSCAPES,
    'dabnet_r18_p8': CITYSCAPES,
    'dabnet_r18_p16': CITYSCAPES,
    'dabnet_e': CITYSCAPES,
    'csail_resnet18dilated8_c1_deepsup': ADE20K,
    'csail_resnet18dilated8_ppm_deepsup': ADE20K,
    'csail_resnet18dilated16_c1_deepsup': ADE20K,
    'csail_resnet50dilated16_c1': ADE20K,
    'csail_resnet50dilated8_ppm': ADE20K,
    'csail_resnet50dilated8_ppm_deepsup': ADE20K,
    'csail_resnet50_upernet_lite': ADE20K,
    'csail_resnet50_upernet': ADE20K,
    'csail_resnet101dilated8_ppm_deepsup': ADE20K,
    'csail_resnet101_upernet': ADE20K,
    'deeplabv3plus_mobilenetv2_tv_edgeailite': EDGEAILITE,
    'deeplabv3plus_regnetx800mf_edgeailite': EDGEAILITE,
    'unet_aspp_mobilenetv2_tv_edgeailite': EDGEAILITE,
    'unet_aspp_regnetx800mf_edgeailite': EDGEAILITE,
    'fpn_aspp_mobilenetv2_tv_edgeailite': EDGEAILITE,
    'fpn_aspp_mobilenetv2_tv_fd_edgeailite': EDGEAILITE,
    'fpn_aspp_regnetx400mf_edgeailite': EDGEAILITE,
    'fpn_aspp_regnetx800mf_edgeailite': EDGEAILITE,
    'fpn_aspp_regnetx1p6gf_edgeailite': EDGEAILITE,
    'fpn_aspp_regnetx3p2gf_edgeailite': EDGEAILITE,
}


def usual() -> str:
    """The networks of :data:`USUAL`, each at its size."""
    lines = [
        '| network | parameters | size | GMACs | activations, MiB | at once | receptive field |',
        '| --- | ---: | --- | ---: | ---: | ---: | --- |',
    ]
    for name, size in USUAL.items():
        measured = complexity.measure(models.create(name), size)
        lines.append(
            f'| {name} | {measured.parameters:,} | {by(size)} | {measured.gmacs:.2f} '
            f'| {mebibytes(measured.activation_bytes)} | {mebibytes(measured.peak_bytes)} '
            f'| {field(measured)} |'
        )
    return '\n'.join(lines)


def field(stage: complexity.Stage) -> str:
    """A receptive field in words; a ``+`` says that global poolings show the whole image, too."""
    return by(stage.receptive_field) + ('+' if stage.sees_all else '')


def mebibytes(count: int) -> str:
    return f'{count / 2**20:.0f}'


def by(size: tuple[int, int]) -> str:
    """A size, (height, width) in pixels, as it is written in the tables."""
    return 'x'.join(map(str, size))
