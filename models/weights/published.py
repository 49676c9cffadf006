"""The files of weights that the authors of the networks published, and where they are.

Addresses are those of the projects' own documents and sources: sony/ai-research-code,
d3net/semantic-segmentation/README.md; ydhongHIT/DDRNet and chenjun2hao/DDRNet.pytorch, README.md;
isyangshu/DABNet, README.md, and what it starts from, of OpenMMLab and timm;
CSAILVision/semantic-segmentation-pytorch, config/*.yaml, demo_test.sh and
mit_semseg/models/*.py; TexasInstruments/edgeai-torchvision,
references/edgeailite/edgeai_xvision/xvision/models/mobilenetv2.py and regnet.py,
references/edgeailite/main/pixel2pixel/infer_segmentation_main.py, and TI's edgeai-modelmaker and
edgeai-benchmark for its model zoo.

Nobody published digests, and CSAIL's addresses are plain http: the first download of a file is
trusted, and later it must be what it was then (:mod:`common.download`).
"""

import difflib
import shlex
from dataclasses import dataclass
from pathlib import Path

from common.patterns import matches
from models import registry

WITHOUT_DOWNLOAD = '-cfg configs/D3Net_T_camvid.yaml needs no download'
CHECKPOINTS = ('.pth', '.pyth', '.pt')  # endings of PyTorch's files


@dataclass(frozen=True)
class Published:
    """A file that the authors of a network published.

    Attributes:
        file: Its name, with folders where the name alone would not tell; where the authors' page
            has none, their title.
        network: Names, or patterns of names, with blanks between them; a file for several holds
            what they have in common.
        task: What it was trained for.
        mirrors: Base addresses, tried in turn; none where a plain request does not get the file.
        page: Where a person gets it then.
        size: In bytes, where known.
        sha256: Where known.
        num_classes: Where not the network's own.
        halves: Names of all files of the network in the same folder, where there are several.
        obstacle: Why nothing here can take the file, if so.
        statistics: Of the input that it was trained on, a name in
            :data:`models.input_statistics.KNOWN`; None: the network's own.
    """

    file: str
    network: str
    task: str
    mirrors: tuple[str, ...] = ()
    page: str | None = None
    size: int | None = None
    sha256: str | None = None
    num_classes: int | None = None
    halves: tuple[str, ...] = ()
    obstacle: str | None = None
    statistics: str | None = None

    def networks(self) -> list[str]:
        """Return the names of all networks that the file is for."""
        patterns = self.network.split()
        return [n for n in registry.names() if matches(n, patterns)]


CITYSCAPES = 'Cityscapes, 19 classes'
ADE20K = 'ADE20K, 150 classes'
ADE20K32 = 'ADE20K, 32 classes'
IMAGENET = 'ImageNet, encoder only'
COCO = 'COCO, 21 classes'
COCOSTUFF = 'COCO-Stuff 10k, 171 classes'
SONY = ('https://nnabla.org/pretrained-models/ai-research-code/d3net/semantic-segmentation/',)
CSAIL = ('http://sceneparsing.csail.mit.edu/model/pytorch/',)
CSAIL_IMAGENET = ('http://sceneparsing.csail.mit.edu/model/pretrained_resnet/',)
PYCLS = 'https://dl.fbaipublicfiles.com/pycls/dds_baselines/'
TI = (
    'https://software-dl.ti.com/jacinto7/esd/modelzoo/08_06_00_01/models/vision/segmentation/'
    'cocoseg21/edgeai-tv/',
)
CSAIL_FOLDERS = {'baseline-': 'csail_bgr', 'ade20k-': 'imagenet'}  # by how their names begin
TI_ZOO = 'https://github.com/TexasInstruments/edgeai-modelzoo (models/vision/segmentation/'
TORCHVISION = ('https://download.pytorch.org/models/',)
OPENMMLAB = ('https://download.openmmlab.com/pretrain/third_party/',)
TIMM = ('https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/',)
BAIDU_DDRNET = 'https://pan.baidu.com/s/17pOOTc-HBG6TNf4k_cn4VA (password it2s)'
BAIDU_DABNET = 'https://pan.baidu.com/s/1frav6gGSJ0p396sCOAhODg (password 2t0o)'
BAIDU_DABNET_TEST = 'https://pan.baidu.com/s/1TlLLYnwLAEqhYwbuMhbXpA (password vq1n)'
NO_NETWORK = 'no network here has this encoder'
ONNX_ONLY = 'TI published it as ONNX only, which nothing here converts'


def _drive(file: str, network: str, task: str, key: str) -> Published:
    return Published(file, network, task, page=f'https://drive.google.com/file/d/{key}/view')


def _csail(
    folder: str,
    epoch: int,
    network: str,
    obstacle: str | None = None,
    statistics: str = 'imagenet',
) -> tuple[Published, ...]:
    halves = tuple(f'{half}_epoch_{epoch}.pth' for half in ('encoder', 'decoder'))
    return tuple(
        Published(
            f'{folder}/{half}',
            network,
            f'{ADE20K}, {half.partition("_")[0]}',
            CSAIL,
            halves=halves,
            obstacle=obstacle,
            statistics=statistics,
        )
        for half in halves
    )


def _csail_2018(folder: str, epoch: int, network: str) -> tuple[Published, ...]:
    """The same architectures before August 2019, whose input is another one."""
    return _csail(f'baseline-{folder}', epoch, network, statistics='csail_bgr')


def _ti(file: str, network: str) -> Published:
    return Published(f'{file}_checkpoint.pth', network, COCO, TI, num_classes=21)


def _ti_onnx(file: str, network: str) -> Published:
    page = f'{TI_ZOO}ade20k32/edgeai-tv)'
    return Published(
        f'{file}.onnx', network, ADE20K32, page=page, num_classes=32, obstacle=ONNX_ONLY
    )


def _pycls(number: int, size: str, network: str) -> Published:
    return Published(f'RegNetX-{size}_dds_8gpu.pyth', network, IMAGENET, (f'{PYCLS}{number}/',))


PUBLISHED = (
    Published('D3Net-L.h5', 'd3net_l', CITYSCAPES, SONY),
    Published('D3Net-S.h5', 'd3net_s', CITYSCAPES, SONY),
    Published('D3Net-L-pretrained-backbone.h5', 'd3net_l', 'ImageNet, backbone only', SONY),
    Published('D3Net-S-pretrained-backbone.h5', 'd3net_s', 'ImageNet, backbone only', SONY),
    # DDRNet: the names of the ImageNet files are those in the authors' sources, the names of the
    # Cityscapes files those in the other repository's configs.
    _drive(
        'DDRNet23s_imagenet.pth', 'ddrnet23_slim*', IMAGENET, '1mg5tMX7TJ9ZVcAiGSB4PEihPtrJyalB4'
    ),
    _drive(
        'DDRNet_23_slim using timm library',
        'ddrnet23_slim*',
        IMAGENET,
        '17sgZ8mRJFhsItmdTrifI1rloVq5K1WiC',
    ),
    _drive(
        'DDRNet23_imagenet.pth',
        'ddrnet23 ddrnet23_aux',
        IMAGENET,
        '1VoUsERBeuCaiuQJufu8PqpKKtGvCTdug',
    ),
    _drive('DDRNet39_imagenet.pth', 'ddrnet39*', IMAGENET, '122CMx6DZBaRRf-dOHYwuDY9vG0_UQ10i'),
    _drive(
        'best_val_smaller.pth', 'ddrnet23_slim_aux', CITYSCAPES, '1d_K3Af5fKHYwxSo8HkxpnhiekhwovmiP'
    ),
    _drive('best_val.pth', 'ddrnet23_aux', CITYSCAPES, '16viDZhbmuc3y7OSsUo2vhA7V6kYO0KX6'),
    _drive(
        'DDRNet_23_slim, CamVid', 'ddrnet23_slim*', 'CamVid', '1sh71nLdFKq1l89X3xyVO2J0d_3qBZui8'
    ),
    Published('DDRNet23_slim, own model', 'ddrnet23_slim_aux', CITYSCAPES, page=BAIDU_DDRNET),
    # DABNet: one folder holds all, another what was sent to the server of Cityscapes; their files
    # are not named in the README.
    Published('DABNet_R_P2', 'dabnet_r18_p2', CITYSCAPES, page=BAIDU_DABNET),
    Published('DABNet_E', 'dabnet_e', CITYSCAPES, page=BAIDU_DABNET),
    Published(
        'DABNet_R_P2, COCO-10k', 'dabnet_r18_p2', COCOSTUFF, page=BAIDU_DABNET, num_classes=171
    ),
    Published('DABNet_E, COCO-10k', 'dabnet_e', COCOSTUFF, page=BAIDU_DABNET, num_classes=171),
    Published(
        'DABNet, Cityscapes test results', 'dabnet_*', 'Cityscapes, test', page=BAIDU_DABNET_TEST
    ),
    Published('resnet18_v1c-b5776b93.pth', 'dabnet_r18_*', IMAGENET, OPENMMLAB),
    Published('efficientnet_b1-533bc792.pth', 'dabnet_e', IMAGENET, TIMM),
    *_csail('ade20k-resnet18dilated-ppm_deepsup', 20, 'csail_resnet18dilated8_ppm_deepsup'),
    *_csail('ade20k-resnet50dilated-ppm_deepsup', 20, 'csail_resnet50dilated8_ppm_deepsup'),
    *_csail('ade20k-resnet101dilated-ppm_deepsup', 25, 'csail_resnet101dilated8_ppm_deepsup'),
    *_csail('ade20k-resnet50-upernet', 30, 'csail_resnet50_upernet'),
    *_csail('ade20k-resnet101-upernet', 50, 'csail_resnet101_upernet'),
    *_csail('ade20k-mobilenetv2dilated-c1_deepsup', 20, '', NO_NETWORK),
    *_csail('ade20k-hrnetv2-c1', 30, '', NO_NETWORK),
    # README.md and demo_test.sh at 42bc6cb name the folder of resnet50dilated-ppm_deepsup, and the
    # page that has all; the names of the others follow it, with the epochs of the README's table.
    *_csail_2018('resnet18dilated-c1_deepsup', 20, 'csail_resnet18dilated8_c1_deepsup'),
    *_csail_2018('resnet18dilated-ppm_deepsup', 20, 'csail_resnet18dilated8_ppm_deepsup'),
    *_csail_2018('resnet50dilated-ppm_deepsup', 20, 'csail_resnet50dilated8_ppm_deepsup'),
    *_csail_2018('resnet101dilated-ppm_deepsup', 25, 'csail_resnet101dilated8_ppm_deepsup'),
    *_csail_2018('resnet50-upernet', 20, 'csail_resnet50_upernet'),
    *_csail_2018('resnet101-upernet', 25, 'csail_resnet101_upernet'),
    Published('resnet18-imagenet.pth', 'csail_resnet18*', IMAGENET, CSAIL_IMAGENET),
    Published('resnet50-imagenet.pth', 'csail_resnet50*', IMAGENET, CSAIL_IMAGENET),
    Published('resnet101-imagenet.pth', 'csail_resnet101*', IMAGENET, CSAIL_IMAGENET),
    Published('mobilenet_v2.pth.tar', '', IMAGENET, CSAIL_IMAGENET, obstacle=NO_NETWORK),
    Published('hrnetv2_w48-imagenet.pth', '', IMAGENET, CSAIL_IMAGENET, obstacle=NO_NETWORK),
    Published('resnext101-imagenet.pth', '', IMAGENET, CSAIL_IMAGENET, obstacle=NO_NETWORK),
    _ti('fpn_aspp_regnetx800mf_edgeailite_512x512_20210405', 'fpn_aspp_regnetx800mf_edgeailite'),
    _ti('unet_aspp_mobilenetv2_edgeailite_512x512_20210407', 'unet_aspp_mobilenetv2_tv_edgeailite'),
    _ti(
        'deeplabv3plus_mobilenetv2_edgeailite_512x512_20210405',
        'deeplabv3plus_mobilenetv2_tv_edgeailite',
    ),
    Published(
        'deeplabv3plus_edgeailite_mobilenetv2_768x384_20190626_checkpoint.pth',
        'deeplabv3plus_mobilenetv2_tv_edgeailite',
        CITYSCAPES,
        page=f'{TI_ZOO}cityscapes/edgeai-jai)',
    ),
    _ti_onnx(
        'deeplabv3plus_mobilenetv2_edgeailite_512x512_20210308_outby4',
        'deeplabv3plus_mobilenetv2_tv_edgeailite',
    ),
    _ti_onnx(
        'unet_aspp_mobilenetv2_edgeailite_512x512_20210306_outby2',
        'unet_aspp_mobilenetv2_tv_edgeailite',
    ),
    _ti_onnx(
        'fpn_aspp_mobilenetv2_edgeailite_512x512_20210306_outby4',
        'fpn_aspp_mobilenetv2_tv_edgeailite',
    ),
    _ti_onnx(
        'fpn_aspp_mobilenetv2_1p4_edgeailite_512x512_20210307_outby4',
        'fpn_aspp_mobilenetv2_tv_1p4_edgeailite',
    ),
    _ti_onnx(
        'fpn_aspp_regnetx400mf_edgeailite_384x384_20210314_outby4',
        'fpn_aspp_regnetx400mf_edgeailite',
    ),
    _ti_onnx(
        'fpn_aspp_regnetx800mf_edgeailite_512x512_20210312_outby4',
        'fpn_aspp_regnetx800mf_edgeailite',
    ),
    Published(
        'mobilenet_v2-b0353104.pth',
        '*_mobilenetv2_tv_edgeailite *_mobilenetv2_tv_fd_edgeailite',
        IMAGENET,
        TORCHVISION,
    ),
    _pycls(160905967, '400MF', '*_regnetx400mf*_edgeailite'),
    _pycls(160906036, '800MF', '*_regnetx800mf*_edgeailite'),
    _pycls(160990626, '1.6GF', '*_regnetx1p6gf*_edgeailite'),
    _pycls(160906139, '3.2GF', '*_regnetx3p2gf*_edgeailite'),
)


def entry_of(path: Path) -> Published | None:
    """Return the published file whose name a path ends with; ``_`` and ``-`` are the same."""
    own = Path(str(path).replace('-', '_')).parts
    for published in PUBLISHED:
        parts = Path(published.file.replace('-', '_')).parts
        if own[-len(parts) :] == parts:
            return published
    return None


def input_statistics_of(path: Path) -> str | None:
    """Return the name of the statistics of a file's input, as far as the names of the file and its
    folder tell: those of a published file, or of one that is called like CSAIL's; else None.
    """
    published = entry_of(path)
    if published is not None and published.statistics:
        return published.statistics
    parts = path.parts[-2:]
    return next(
        (s for start, s in CSAIL_FOLDERS.items() for p in parts if p.startswith(start)), None
    )


def others(path: Path) -> str:
    """Say what there is instead of a file that does not exist."""
    if path.suffix in CHECKPOINTS:
        named = [p.file for p in PUBLISHED if p.file.endswith(path.suffix) and not p.obstacle]
        nearest = difflib.get_close_matches(str(path), named, n=3, cutoff=0.4)
        also = f', such as {", ".join(nearest)}' if nearest else ''
        return f'models/weights/published.py lists the published ones{also}'
    named = ', '.join(p.file for p in PUBLISHED if p.file.endswith('.h5'))
    return f'published files are {named}, and {WITHOUT_DOWNLOAD}'


def conversion_of(path: Path) -> str:
    """Return the command that converts a checkpoint of PyTorch.

    It has ``NAME`` for a network that the name of the file does not tell. A file for several
    networks converts to the same arrays for all, so the command has the first.
    """
    published = entry_of(path)
    if published is None:
        network, inputs, target, classes = 'NAME', [path], path.with_suffix('.h5'), None
    else:
        network, classes = published.networks()[0], published.num_classes
        inputs = [path.with_name(half) for half in published.halves] or [path]
        whole = path.with_name(f'{network}.h5')
        target = whole if published.halves else path.with_suffix('.h5')
    options = ['--network', network]
    options += [] if classes is None else ['--num-classes', str(classes)]
    for file in inputs:
        options += ['-i', str(file)]
    return f'python -m models.convert {shlex.join([*options, "-o", str(target)])}'
