"""Describe the functions that stop with an illegal instruction on Hopper GPUs.

Layers must not use these functions.

Measured on an H200 with NNabla 1.39; see engine/device/known_bugs.py.
"""

import math

NORMALIZATIONS = ('BatchNormalization', 'FusedBatchNormalization')


def _ratio(spec) -> int:
    """Return the number of values that a reduction combines, for each value that it keeps."""
    shape, axes = spec.shapes[0], _axes(spec)
    reduced = math.prod(shape[axis] for axis in axes)
    return reduced // (math.prod(shape) // reduced)


def _axes(spec) -> list[int]:
    count = len(spec.shapes[0])
    return [axis % count for axis in spec.arguments['axes']] or list(range(count))


def _reduces_last(spec) -> bool:
    """Return whether the last axis longer than 1 is reduced."""
    longer = [axis for axis, length in enumerate(spec.shapes[0]) if length > 1]
    return bool(longer) and longer[-1] in _axes(spec)


def _trains_with_fixed_statistics(spec) -> bool:
    return not spec.arguments['batch_stat'] and any(spec.gradients[1:3])


# Kind -> NNabla's function types, and a function that returns whether a spec is broken.
BROKEN = {
    'long means': (('Mean',), lambda spec: _ratio(spec) >= 2048),
    'sums and maxima': (('Sum', 'Max'), _reduces_last),
    'top-k': (('TopKData',), lambda spec: True),
    'depthwise convolution': (('DepthwiseConvolution',), lambda spec: True),
    'layer and instance norm': (
        ('LayerNormalization', 'InstanceNormalization'),
        lambda spec: True,
    ),
    'prelu': (('PReLU',), lambda spec: True),
    'clipping by norm': (('ClipGradByNorm',), lambda spec: True),
    'fixed batch norm': (NORMALIZATIONS, _trains_with_fixed_statistics),
}


def broken_on_hopper(spec) -> str | None:
    """Return the key of ``BROKEN`` for a function; None if it works or is unknown.

    Args:
        spec: The function as :class:`engine.training.gpu_check_child.FunctionSpec`.
    """
    found = (
        text for text, (types, is_one) in BROKEN.items() if spec.type in types and is_one(spec)
    )
    return next(found, None)
