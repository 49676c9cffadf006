"""ResNet encoders with a stem of three convolutions, plain and dilated.

He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016, arXiv:1512.03385;
dilated as in Yu, Koltun, Funkhouser, "Dilated residual networks", CVPR 2017, arXiv:1705.09914.
Reference: CSAILVision/semantic-segmentation-pytorch, commit
8f27c9b97d2ca7c6e05333d5766d144bf7d8c31b, mit_semseg/models/resnet.py, mit_semseg/models/models.py
(Resnet, ResnetDilated) and mit_semseg/lib/nn/modules/batchnorm.py.

Differs from the original: with several processes, batch statistics are those of PyTorch's batch
norm over the whole batch, and so is the running average. The original's synchronized batch norm
clamps the variance to eps from below instead of adding eps, and averages over what it has seen so
far instead of starting from 0 and 1; on one GPU it, too, is PyTorch's.
"""

import nnabla.initializer as I

from d3net import layers as L

DECAY_RATE = 0.999  # 1 - momentum, of every batch norm of the family
STEM_STRIDE = 4
WIDTHS = (64, 128, 256, 512)  # of the stages' 3x3 convolutions


def resnet(x, build, *, residual, blocks, output_stride):
    """The outputs of the four stages, (N, 3, H, W) -> [(N, C, h, w), ...].

    residual: :func:`basic` or :func:`bottleneck`. blocks: of each stage. output_stride: what the
    last map's size is the input's divided by, rounded up: 4, 8, 16 and 32 for the four maps, and
    never more than this. A stage that would exceed it keeps its size, and its 3x3 convolutions from
    the second on are dilated twice as much as those before.
    """
    for i, (channels, stride) in enumerate([(64, 2), (64, 1), (128, 1)], 1):
        x = convolution_bn(x, channels, 3, f'conv{i}', f'bn{i}', build, stride=stride)
    x = L.max_pool(x, 3, 2, build)
    features, reached, dilation = [], STEM_STRIDE, 1
    for stage, (width, count) in enumerate(zip(WIDTHS, blocks), 1):
        stride, dilations = (1 if stage == 1 else 2), (dilation, dilation)
        if reached * stride > output_stride:
            dilation *= stride
            stride, dilations = 1, (dilation // stride, dilation)
        reached *= stride
        for i in range(count):
            with L.scope(f'layer{stage}/{i}'):
                x = block(x, width, residual, build, stride if i == 0 else 1, dilations)
            dilations = (dilation, dilation)
        features.append(x)
    return features


def block(x, width, residual, build, stride, dilations):
    """A residual and a shortcut, which is a projection where their channels differ: the first block
    of every stage.
    """
    with L.recomputed_block(build):
        y = residual(x, width, build, stride, dilations)
        channels = L.channels_of(y, build)
        if channels != L.channels_of(x, build):
            with L.scope('downsample'):
                x = convolution_bn(x, channels, 1, '0', '1', build, stride=stride, relu=False)
    return L.relu(y + x, build)


def basic(x, width, build, stride, dilations):
    """Two 3x3 convolutions, with a dilation each: (N, C, H, W) -> (N, width, H', W')."""
    x = convolution_bn(x, width, 3, 'conv1', 'bn1', build, stride=stride, dilation=dilations[0])
    return convolution_bn(x, width, 3, 'conv2', 'bn2', build, dilation=dilations[1], relu=False)


def bottleneck(x, width, build, stride, dilations):
    """1x1, 3x3 and 1x1 convolutions; the 3x3 one has the stride and the first dilation: (N, C, H,
    W) -> (N, 4 * width, H', W').
    """
    x = convolution_bn(x, width, 1, 'conv1', 'bn1', build)
    x = convolution_bn(x, width, 3, 'conv2', 'bn2', build, stride=stride, dilation=dilations[0])
    return convolution_bn(x, 4 * width, 1, 'conv3', 'bn3', build, relu=False)


def convolution_bn(x, channels, kernel, name, norm, build, *, relu=True, **options):
    """A convolution without bias, batch norm and, by default, ReLU.

    The weights start normal with variance 2 / (kernel**2 * channels). ``options`` are those of
    :func:`d3net.layers.convolution`.
    """
    inputs = L.channels_of(x, build)
    deviation = I.calc_normal_std_he_backward(inputs, channels, (kernel, kernel))
    x = L.convolution(
        x,
        channels,
        kernel,
        name,
        build,
        bias=False,
        initializer=I.NormalInitializer(deviation),
        **options,
    )
    return (L.bn_relu if relu else L.batch_norm)(x, norm, build, decay_rate=DECAY_RATE)


DEPTHS = {
    'resnet18': dict(residual=basic, blocks=(2, 2, 2, 2)),
    'resnet50': dict(residual=bottleneck, blocks=(3, 4, 6, 3)),
    'resnet101': dict(residual=bottleneck, blocks=(3, 4, 23, 3)),
}
OUTPUT_STRIDES = {'': 32, 'dilated8': 8, 'dilated16': 16}
ENCODERS = {
    depth + suffix: dict(options, output_stride=stride)
    for depth, options in DEPTHS.items()
    for suffix, stride in OUTPUT_STRIDES.items()
}
