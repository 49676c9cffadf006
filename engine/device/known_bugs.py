"""What of NNabla 1.39 does not work on Hopper GPUs, as measured on an H200.

Its CUDA extension passes a mask of 28 of the 32 lanes to the warp shuffles of these kernels
(nnabla-ext-cuda, include/nbla/cuda/utils/shuffle_down.cuh and warp_shuffle.cuh).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

NORMALIZATIONS = ('BatchNormalization', 'FusedBatchNormalization')


@dataclass(frozen=True)
class Broken:
    """Functions whose kernels in NNabla 1.39 stop with an illegal instruction on Hopper GPUs.

    types: NNabla's names; none where it is no function of a graph. when: which of them, told by
    their :class:`engine.training.gpu_check_child.Spec`; by default all.
    """

    text: str
    types: tuple[str, ...] = ()
    when: Callable[[object], bool] = lambda spec: True


def _ratio(spec) -> int:
    """How many values a reduction makes one of, for each that it keeps."""
    shape, axes = spec.shapes[0], _axes(spec)
    reduced = math.prod(shape[axis] for axis in axes)
    return reduced // (math.prod(shape) // reduced)


def _axes(spec) -> list[int]:
    count = len(spec.shapes[0])
    return [axis % count for axis in spec.arguments['axes']] or list(range(count))


def _reduces_last(spec) -> bool:
    """Whether the last axis is reduced; axes of length 1 do not count."""
    longer = [axis for axis, length in enumerate(spec.shapes[0]) if length > 1]
    return bool(longer) and longer[-1] in _axes(spec)


def _trains_with_fixed_statistics(spec) -> bool:
    return not spec.arguments['batch_stat'] and any(spec.gradients[1:3])


BROKEN_ON_HOPPER = (
    Broken(
        'means of 2048 values or more for each that is kept', ('Mean',), lambda s: _ratio(s) >= 2048
    ),
    Broken('sums and maxima over everything or the last axis', ('Sum', 'Max'), _reduces_last),
    Broken('top-k', ('TopKData',)),
    Broken('depthwise convolution', ('DepthwiseConvolution',)),
    Broken('layer and instance norm', ('LayerNormalization', 'InstanceNormalization')),
    Broken('prelu', ('PReLU',)),
    Broken('clipping by norm', ('ClipGradByNorm',)),
    Broken('LARS'),
    Broken(
        'backward of batch norm with fixed statistics',
        NORMALIZATIONS,
        _trains_with_fixed_statistics,
    ),
)
HOPPER = 9  # the first number of their compute capability
HOPPER_PROBLEM = (
    'on Hopper GPUs (H100, H200) kernels of NNabla 1.39 stop with an illegal instruction: '
    f'{", ".join(broken.text for broken in BROKEN_ON_HOPPER)}; '
    'the layers of layers/functions.py avoid them'
)


def broken_on_hopper(spec) -> str | None:
    """Which of them a function is, told by its :class:`engine.training.gpu_check_child.Spec`; None:
    it works, or nobody knows.
    """
    found = (b.text for b in BROKEN_ON_HOPPER if spec.type in b.types and b.when(spec))
    return next(found, None)
