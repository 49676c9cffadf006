"""D3Net for semantic segmentation: densely connected multidilated DenseNet.

Takahashi and Mitsufuji, "Densely connected multidilated convolutional networks for dense prediction
tasks", CVPR 2021, arXiv:2011.11844. Reference: sony/ai-research-code, commit
cfe96dfeef567eaaaffe0045b5bcab9ca7fb9e00, d3net/d3net_basic_blocks.py and
d3net/semantic-segmentation/model.py.

Parameter names and shapes are the reference's, so its published ``.h5`` files load unchanged. The
hyper-parameters, :class:`D3NetKeys`, keep the names of the reference's YAML files.

Differs from the original: the number of stages is the length of these lists, not always four; the
running sum of a D2 block is one tensor (see :func:`multidilated_layers`); logits are returned at a
quarter of the input's size, and upsampling and softmax are left to the caller.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import nnabla as nn
import nnabla.initializer as I

from common.sections import Section, SectionError, config_key
from layers import functions as L

# A builder of the layers of a D2 block: (map, growth rate, number of layers, build) -> maps.
DenseLayers: TypeAlias = Callable[[nn.Variable, int, int, L.Build], list[nn.Variable]]

PAPER = 'Takahashi and Mitsufuji, CVPR 2021, arXiv:2011.11844'
STRIDE = 4  # size of the input / size of the logits

VARIANTS = {
    'd3net_s': dict(
        num_init_features=64,
        num_layers=(4, 4, 4, 4),
        n_blocks=(8, 8, 8, 8),
        dens_k=(36, 36, 36, 36),
        block_comp=(0.2, 0.2, 0.2, 0.2),
        intermediate_out_ch=(32, 40, 64, 128),
        channels=264,
    ),
    'd3net_l': dict(
        num_init_features=64,
        num_layers=(4, 4, 4, 4),
        n_blocks=(10, 10, 10, 10),
        dens_k=(64, 64, 64, 64),
        block_comp=(0.2, 0.2, 0.2, 0.2),
        intermediate_out_ch=(32, 48, 96, 192),
        channels=368,
    ),
    'd3net_t': dict(
        num_init_features=64,
        num_layers=(4, 4, 4, 4),
        n_blocks=(4, 4, 4, 4),
        dens_k=(24, 24, 24, 24),
        block_comp=(0.2, 0.2, 0.2, 0.2),
        intermediate_out_ch=(32, 40, 64, 128),
        channels=264,
    ),
}
NO_DEFAULT = 'that of the variant; required for d3net itself'


@dataclass(frozen=True, kw_only=True)
class D3NetKeys(Section):
    """Hyper-parameters of D3Net; a list has one value for each stage."""

    num_init_features: int | None = config_key(
        None, 'channels of the stem', least=1, default_text=NO_DEFAULT
    )
    num_layers: tuple[int, ...] | None = config_key(
        None, 'M, number of layers of a D2 block, by stage', least=1, default_text=NO_DEFAULT
    )
    n_blocks: tuple[int, ...] | None = config_key(
        None,
        'L, number of D2 blocks, by stage; the length of the list is the number of stages',
        least=1,
        default_text=NO_DEFAULT,
    )
    dens_k: tuple[int, ...] | None = config_key(
        None, 'k, growth rate in channels, by stage', least=1, default_text=NO_DEFAULT
    )
    block_comp: tuple[float, ...] | None = config_key(
        None,
        'c, output channels of a D2 block divided by those of the layers that form the output, '
        'by stage',
        above=0,
        default_text=NO_DEFAULT,
    )
    intermediate_out_ch: tuple[int, ...] | None = config_key(
        None,
        'channels of the side output that the head receives, by stage',
        least=1,
        default_text=NO_DEFAULT,
    )
    trans_comp_factor: int = config_key(
        2, 'factor by which the transition between two stages reduces the channels', least=1
    )
    dense_n_out_layer_block: tuple[int, ...] | None = config_key(
        None,
        'number of last layers of a D2 block that form its output, by stage; at most num_layers',
        least=1,
        default_text='num_layers, all of them',
    )
    channels: int | None = config_key(
        None, 'channels of the head', least=1, default_text=NO_DEFAULT
    )


def bn_relu_conv(
    x: nn.Variable, channels: int, kernel: int, name: str, build: L.Build, dilation: int = 1
) -> nn.Variable:
    """Apply batch norm, ReLU and then a convolution with bias: the unit of D3Net.

    Args:
        x: (N, C, H, W) input map.
        channels: Number of output channels.
        kernel: Kernel size.
        name: Scope of the parameters.
        build: Settings of the build.
        dilation: Dilation of the convolution.
    """
    with L.scope(name):
        x = L.bn_relu(x, 'norm1', build)
        return L.convolution(x, channels, kernel, 'conv1', build, dilation=dilation)


def multidilated_layers(
    x: nn.Variable, growth_rate: int, num_layers: int, build: L.Build
) -> list[nn.Variable]:
    """Apply the layers 1 to M-1 of a D2 block, (N, M*k, H, W) -> list of M groups (N, k, H, W).

    ``x`` is the output of layer 0: one group of k channels for each layer. Layer i convolves group
    i-1, which is complete by then, with dilation 2**i and adds the result to all later groups. This
    is the multidilated convolution of the paper in split form.

    Differs from the original: the running sums of all later groups are one tensor, to which a layer
    adds its whole output at once. The original keeps a list of groups and adds slice by slice. The
    sums are the same, in the same order, with a fifth fewer functions.

    Args:
        x: (N, M*k, H, W) output of layer 0.
        growth_rate: Channels of a group, k.
        num_layers: Number of layers, M.
        build: Settings of the build.
    """
    groups, pending = [], x
    for i in range(1, num_layers):
        group = L.slice_channels(pending, 0, growth_rate, build)
        later = L.slice_channels(pending, growth_rate, L.channels_of(pending, build), build)
        with L.scope(f'layers/layer{i}'):
            pending = later + bn_relu_conv(
                group, L.channels_of(later, build), 3, 'bottle_neck', build, dilation=2**i
            )
        groups.append(group)
    return [*groups, pending]


def padded_layers(
    x: nn.Variable, growth_rate: int, num_layers: int, build: L.Build
) -> list[nn.Variable]:
    """Apply the layers of :func:`multidilated_layers` in the form for inference on a GPU.

    The output of a layer is padded with zeros to the width of the whole sum. The sum is then the
    block's output, without a concatenation: adding zeros costs less than launching another
    function.

    Args:
        x: (N, M*k, H, W) output of layer 0.
        growth_rate: Channels of a group, k.
        num_layers: Number of layers, M.
        build: Settings of the build.

    Returns:
        A list of one map (N, M*k, H, W) with all groups.
    """
    for i in range(1, num_layers):
        done = i * growth_rate
        group = L.slice_channels(x, done - growth_rate, done, build)
        with L.scope(f'layers/layer{i}'):
            later = L.channels_of(x, build) - done
            new = bn_relu_conv(group, later, 3, 'bottle_neck', build, dilation=2**i)
        x = x + L.pad_channels(new, done, build)
    return [x]


def d2_block(
    x: nn.Variable,
    growth_rate: int,
    num_layers: int,
    num_outputs: int,
    compression: float,
    build: L.Build,
    layers: DenseLayers,
) -> nn.Variable:
    """Apply a D2 block, (N, C, H, W) -> (N, int(k * num_outputs * compression), H, W).

    Args:
        x: (N, C, H, W) input map.
        growth_rate: Channels of a layer, k.
        num_layers: Number of layers, M.
        num_outputs: Number of last layers that form the output.
        compression: Output channels divided by those of these layers, c.
        build: Settings of the build.
        layers: Builder of the layers 1 to M-1.
    """
    with L.scope('d2block'):
        with L.scope('initial_layer'):
            if L.channels_of(x, build) > 4 * growth_rate:
                with L.scope('bc_layer'):
                    x = bn_relu_conv(x, 4 * growth_rate, 1, 'bottle_neck', build)
            with L.scope('init_layer'):
                x = bn_relu_conv(x, growth_rate * num_layers, 3, 'bottle_neck', build)
        maps = layers(x, growth_rate, num_layers, build)[-num_outputs:]
        x, wanted = L.concatenate(*maps, build=build), growth_rate * num_outputs
        if (channels := L.channels_of(x, build)) > wanted:
            x = L.slice_channels(x, channels - wanted, channels, build)
    with L.scope('block_dim_reduction'):
        x = L.bn_relu(x, 'norm1', build)
        return L.convolution(x, int(wanted * compression), 1, 'conv1', build, bias=False)


def side_output(x: nn.Variable, channels: int, name: str, build: L.Build) -> nn.Variable:
    """Apply a 1x1 convolution, batch norm and ReLU: the output of a stage for the head.

    Args:
        x: (N, C, H, W) output of the stage.
        channels: Number of output channels.
        name: Scope of the parameters.
        build: Settings of the build.
    """
    with L.scope(name):
        return L.bn_relu(L.convolution(x, channels, 1, '0', build), '1', build)


def transition(x: nn.Variable, channels: int, build: L.Build) -> nn.Variable:
    """Reduce the channels and halve the size between two stages.

    An odd last row or column is dropped.
    """
    x = L.bn_relu(x, 'bn', build)
    return L.average_pool(L.convolution(x, channels, 1, 'conv', build, bias=False), 2, build)


def backbone(
    x: nn.Variable,
    build: L.Build,
    *,
    num_init_features: int,
    num_layers: tuple[int, ...],
    n_blocks: tuple[int, ...],
    dens_k: tuple[int, ...],
    block_comp: tuple[float, ...],
    intermediate_out_ch: tuple[int, ...],
    dense_n_out_layer_block: tuple[int, ...],
    trans_comp_factor: int,
    layers: DenseLayers,
) -> list[nn.Variable]:
    """Build D3Net up to the side outputs.

    Args:
        x: (N, 3, H, W) normalised image.
        build: Settings of the build.
        num_init_features: See :class:`D3NetKeys`.
        num_layers: See :class:`D3NetKeys`.
        n_blocks: See :class:`D3NetKeys`.
        dens_k: See :class:`D3NetKeys`.
        block_comp: See :class:`D3NetKeys`.
        intermediate_out_ch: See :class:`D3NetKeys`.
        dense_n_out_layer_block: See :class:`D3NetKeys`.
        trans_comp_factor: See :class:`D3NetKeys`.
        layers: Builder of the inside of a D2 block.

    Returns:
        One map for each stage, at 1/4, 1/8, ... of the input's size.
    """
    x = L.convolution(x, num_init_features, 3, 'conv1', build, stride=2, bias=False)
    x = L.bn_relu(x, 'bn1', build)
    x = L.convolution(
        x, num_init_features, 3, 'conv2', build, stride=2, bias=False
    )  # without batch norm: the first D2 block begins with one
    features, last = [], len(n_blocks)
    for stage in range(1, last + 1):
        growth_rate, outputs = dens_k[stage - 1], dense_n_out_layer_block[stage - 1]
        with L.scope(f'dense{stage}/d2_block'):
            for i in range(n_blocks[stage - 1]):
                with L.scope(f'block{i}'), L.recomputed_block(build):
                    new = d2_block(
                        x,
                        growth_rate,
                        num_layers[stage - 1],
                        outputs,
                        block_comp[stage - 1],
                        build,
                        layers,
                    )
                x = L.concatenate(x, new, build=build)
        name = f'final_out{stage}' if stage == last else f'intermediate_out{stage}'
        features.append(side_output(x, intermediate_out_ch[stage - 1], name, build))
        if stage < last:
            with L.scope(f'transition{stage}'):
                x = transition(x, L.channels_of(x, build) // trans_comp_factor, build)
    return features


def head(
    features: Sequence[nn.Variable], channels: int, num_classes: int, build: L.Build
) -> nn.Variable:
    """Build the fully convolutional head.

    Args:
        features: Side outputs, finest first. The others are resized to the first.
        channels: Channels of the hidden layer.
        num_classes: Number of classes.
        build: Settings of the build.

    Returns:
        Logits at the size of the first side output.
    """
    normal = I.NormalInitializer(0.01)
    size = L.size_of(features[0], build)
    x = L.concatenate(*(L.resize(f, size, build) for f in features), build=build)
    x = L.convolution(x, channels, 1, 'convs/0/conv', build, bias=False, initializer=normal)
    x = L.bn_relu(x, 'convs/0/bn', build)
    return L.convolution(x, num_classes, 1, 'conv_seg', build, initializer=normal)


def d3net(
    x: nn.Variable,
    build: L.Build,
    *,
    num_classes: int,
    channels: int,
    layers: DenseLayers | None = None,
    **hyper: Any,
) -> list[nn.Variable]:
    """Build the whole network.

    H and W are at least :func:`smallest_size`; they need not be multiples of any number.

    Args:
        x: (N, 3, H, W) normalised image.
        build: Settings of the build.
        num_classes: Number of classes.
        channels: Channels of the head.
        layers: Builder of the inside of a D2 block; by default the form that suits the build.
        hyper: Hyper-parameters of the backbone, as :func:`complete` returns them.

    Returns:
        [logits (N, num_classes, ceil(H/4), ceil(W/4))].
    """
    if layers is None:
        layers = padded_layers if build.cuda and not build.train else multidilated_layers
    with L.scope('backbone'):
        features = backbone(x, build, layers=layers, **hyper)
    with L.scope('decode_head'):
        return [head(features, channels, num_classes, build)]


def complete(hyper: dict[str, Any]) -> dict[str, Any]:
    """Fill in defaults that depend on other hyper-parameters, and check that all are consistent.

    Args:
        hyper: Values of :class:`D3NetKeys`, and num_classes.

    Returns:
        All hyper-parameters.

    Raises:
        SectionError: A value is missing or inconsistent with the others.
    """
    for key in (*VARIANTS['d3net_s'], 'num_classes'):
        if key not in hyper:
            raise SectionError(key, 'D3Net needs this hyper-parameter')
    hyper = {'dense_n_out_layer_block': hyper['num_layers'], **hyper}
    stages = len(hyper['n_blocks'])
    for key, value in hyper.items():
        if isinstance(value, tuple) and len(value) != stages:
            raise SectionError(key, f'{len(value)} values for the {stages} stages of n_blocks')
    if any(n > layers for n, layers in zip(hyper['dense_n_out_layer_block'], hyper['num_layers'])):
        raise SectionError(
            'dense_n_out_layer_block',
            f'at most num_layers, {list(hyper["num_layers"])}, '
            f'not {list(hyper["dense_n_out_layer_block"])}',
        )
    reduced = zip(hyper['dens_k'], hyper['dense_n_out_layer_block'], hyper['block_comp'])
    if any(int(k * n * c) < 1 for k, n, c in reduced):
        raise SectionError('block_comp', 'so small that a D2 block keeps no channel')
    return hyper


def smallest_size(hyper: Mapping[str, Any]) -> int:
    """Return the smallest height and width, in pixels, for which the last stage has a pixel."""
    last: int = STRIDE * 2 ** (len(hyper['n_blocks']) - 1)
    return last - (STRIDE - 1)
