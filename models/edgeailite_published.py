"""Published weights of EdgeAI-Lite: TI's files, and the ImageNet weights of the encoders.

Sources: TexasInstruments/edgeai-torchvision,
references/edgeailite/edgeai_xvision/xvision/models/mobilenetv2.py and regnet.py,
references/edgeailite/main/pixel2pixel/infer_segmentation_main.py, TI's edgeai-modelmaker and
edgeai-benchmark for its model zoo, and timm/models/efficientnet.py of
huggingface/pytorch-image-models for the encoders that TI does not name.
"""

from models.family import CITYSCAPES, IMAGENET_ENCODER, Published

ADE20K32 = 'ADE20K, 32 classes'
COCO = 'COCO, 21 classes'
PYCLS = 'https://dl.fbaipublicfiles.com/pycls/dds_baselines/'
TIMM = ('https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights/',)
TORCHVISION = ('https://download.pytorch.org/models/',)
TI = (
    'https://software-dl.ti.com/jacinto7/esd/modelzoo/08_06_00_01/models/vision/segmentation/'
    'cocoseg21/edgeai-tv/',
)
TI_ZOO = 'https://github.com/TexasInstruments/edgeai-modelzoo (models/vision/segmentation/'
ONNX_ONLY = 'TI published it as ONNX only, which this project does not convert'


def _ti(file: str, network: str) -> Published:
    """Return a PyTorch checkpoint of TI's model zoo."""
    return Published(f'{file}_checkpoint.pth', network, COCO, TI, num_classes=21)


def _ti_onnx(file: str, network: str) -> Published:
    """Return an ONNX file of TI's model zoo."""
    page = f'{TI_ZOO}ade20k32/edgeai-tv)'
    return Published(
        f'{file}.onnx', network, ADE20K32, page=page, num_classes=32, obstacle=ONNX_ONLY
    )


def _pycls(number: int, size: str, network: str) -> Published:
    """Return a RegNetX classifier of pycls."""
    return Published(
        f'RegNetX-{size}_dds_8gpu.pyth', network, IMAGENET_ENCODER, (f'{PYCLS}{number}/',)
    )


PUBLISHED = (
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
        IMAGENET_ENCODER,
        TORCHVISION,
    ),
    Published(
        'mobilenetv2_100_ra-b33bc2c4.pth',
        '*_mobilenetv2_tv_edgeailite *_mobilenetv2_tv_fd_edgeailite',
        IMAGENET_ENCODER,
        TIMM,
    ),
    Published(
        'mobilenetv2_140_ra-21a4e913.pth',
        '*_mobilenetv2_tv_1p4*_edgeailite *_mobilenetv2_1p4_tv_edgeailite',
        IMAGENET_ENCODER,
        TIMM,
    ),
    _pycls(160905967, '400MF', '*_regnetx400mf*_edgeailite'),
    _pycls(160906036, '800MF', '*_regnetx800mf*_edgeailite'),
    _pycls(160990626, '1.6GF', '*_regnetx1p6gf*_edgeailite'),
    _pycls(160906139, '3.2GF', '*_regnetx3p2gf*_edgeailite'),
)
