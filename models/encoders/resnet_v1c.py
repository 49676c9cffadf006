"""ResNet-18 v1c, with a stem of three 3x3 convolutions, as DABNet's encoder.

He, Zhang, Shen, Xie et al., "Bag of tricks for image classification with convolutional neural
networks", CVPR 2019, arXiv:1812.01187 (the stem). Reference: OpenMMLab's ResNetV1c, as copied to
isyangshu/DABNet, commit 8ad62f02d20e5ed4481d4310c3cb0c8fb49d226f, mmseg/models/backbones/resnet.py.

Initial values are the reference's: weights from He's normal distribution with fan-out,
and 0 for the last gamma of a residual block.
"""

import nnabla as nn

from layers import functions as L
from models.encoders.residual import basic_block, convolution

STEM_CHANNELS = (32, 32, 64)
STAGE_CHANNELS = (64, 128, 256, 512)  # channels of the stages, which have two blocks each


def stem(x: nn.Variable, build: L.Build) -> nn.Variable:
    """Apply the stem to a normalised image: (N, 3, H, W) -> (N, 64, H / 2, W / 2)."""
    for i, channels in enumerate(STEM_CHANNELS):
        stride = 1 if i else 2
        x = convolution(x, channels, 3, f'stem/{3 * i}', build, stride=stride)
        x = L.bn_relu(x, f'stem/{3 * i + 1}', build)
    return x


def stage(x: nn.Variable, number: int, build: L.Build) -> nn.Variable:
    """Apply one of the stages 1 to 4.

    (N, C, H, W) -> (N, STAGE_CHANNELS[number - 1], H / 2, W / 2).
    """
    if number == 1:
        x = L.max_pool(x, 3, 2, build)
    for i in range(2):
        stride = 2 if number > 1 and i == 0 else 1
        name = f'layer{number}/{i}'
        x = basic_block(x, STAGE_CHANNELS[number - 1], name, build, stride=stride, last_gamma=0)
    return x
