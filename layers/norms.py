"""Batch normalisation, alone or followed by ReLU and a shortcut.

This module chooses the function, the processes whose statistics are used, and what a training step
recomputes. Networks call it through :mod:`layers.functions`. Maps are (N, C, H, W), or (N, H, W, C)
in a channel_last build.
"""

from typing import Protocol, TypedDict

import nnabla as nn
import nnabla.functions as F
import nnabla.initializer as I

from layers import sync_batch_norm
from layers.build import Build, float_context, recompute_if, scope


class Norm(Protocol):
    """The signature of :func:`batch_norm`, :func:`bn_relu` and :func:`bn_relu6`."""

    def __call__(
        self,
        x: nn.Variable,
        name: str,
        build: Build,
        *,
        decay_rate: float = 0.9,
        eps: float = 1e-5,
        beta: float = 0.0,
        gamma: float = 1.0,
    ) -> nn.Variable:
        """Apply the batch norm and the functions after it."""
        ...


class TooFewValues(ValueError):
    """Batch statistics of a single value per channel, for which NNabla's variance is NaN."""


def batch_norm(
    x: nn.Variable,
    name: str,
    build: Build,
    *,
    decay_rate: float = 0.9,
    eps: float = 1e-5,
    beta: float = 0.0,
    gamma: float = 1.0,
) -> nn.Variable:
    """Normalise over N, H and W, then scale and shift.

    Parameters: ``<name>/bn/beta``, ``gamma``, ``mean``, ``var``, each ``(1, C, 1, 1)``.

    Args:
        x: (N, C, H, W) input map.
        name: Scope of the parameters.
        build: Settings of the build.
        decay_rate: Share of the running statistics that a step keeps: 1 - PyTorch's momentum.
        eps: Added to the variance.
        beta: Initial value of beta.
        gamma: Initial value of gamma.

    Raises:
        TooFewValues: Batch statistics would cover one value per channel; PyTorch refuses this too.
    """
    with recompute_if(build.recompute == 'bn_relu'):
        return _batch_norm(x, name, build, decay_rate, eps, (beta, gamma))


def bn_relu(
    x: nn.Variable,
    name: str,
    build: Build,
    *,
    decay_rate: float = 0.9,
    eps: float = 1e-5,
    beta: float = 0.0,
    gamma: float = 1.0,
) -> nn.Variable:
    """Apply :func:`batch_norm` and ReLU, with the same parameters and numbers.

    With ``build.cuda`` this is one function. The exceptions are training graphs that use
    synchronized or running statistics.

    Args:
        x: (N, C, H, W) input map.
        name: Scope of the parameters.
        build: Settings of the build.
        decay_rate: See :func:`batch_norm`.
        eps: See :func:`batch_norm`.
        beta: See :func:`batch_norm`.
        gamma: See :func:`batch_norm`.
    """
    with recompute_if(build.recompute == 'bn_relu'):
        fused = _can_be_fused(name, build)
        y = _batch_norm(x, name, build, decay_rate, eps, (beta, gamma), fused)
        return y if fused else F.relu(y)


def bn_add_relu(
    x: nn.Variable,
    shortcut: nn.Variable,
    name: str,
    build: Build,
    *,
    decay_rate: float = 0.9,
    eps: float = 1e-5,
    beta: float = 0.0,
    gamma: float = 1.0,
) -> nn.Variable:
    """End a residual block: ReLU of :func:`batch_norm` plus ``shortcut``.

    With ``build.cuda`` this is one function with the same parameters and numbers. The exceptions
    are training graphs that are channel_last or use synchronized or running statistics.

    Call this function outside the block that :func:`layers.functions.recomputed_block` marks: under
    the policy ``blocks``, the batch norm and the sum are freed, and the output is kept. The policy
    ``bn_relu`` keeps the sum, or the output of the one function.

    Args:
        x: (N, C, H, W) input map.
        shortcut: Map with the shape of ``x``.
        name: Scope of the parameters.
        build: Settings of the build.
        decay_rate: See :func:`batch_norm`.
        eps: See :func:`batch_norm`.
        beta: See :func:`batch_norm`.
        gamma: See :func:`batch_norm`.
    """
    options = decay_rate, eps, (beta, gamma)
    # In half precision and channel_last, cuDNN's own function overwrites the gradient that a
    # shortcut already has from elsewhere, instead of adding to it.
    if _can_be_fused(name, build) and not (build.train and build.channel_last):
        return _batch_norm(x, name, build, *options, True, shortcut)
    with recompute_if(build.recompute in ('bn_relu', 'blocks')):
        y = _batch_norm(x, name, build, *options)
    with recompute_if(build.recompute == 'blocks'):
        y = y + shortcut
    with recompute_if(build.recompute == 'bn_relu'):
        return F.relu(y)


def bn_relu6(x: nn.Variable, name: str, build: Build, **options: float) -> nn.Variable:
    """Apply :func:`batch_norm`, then ReLU6, min(max(x, 0), 6).

    The policy ``bn_relu`` recomputes both.

    Args:
        x: (N, C, H, W) input map.
        name: Scope of the parameters.
        build: Settings of the build.
        options: Further arguments of :func:`batch_norm`.
    """
    with recompute_if(build.recompute == 'bn_relu'):
        return F.relu6(batch_norm(x, name, build, **options))


class _Options(TypedDict):
    axes: list[int]
    decay_rate: float
    eps: float


def _statistics(name: str, build: Build) -> tuple[bool, bool]:
    """Return whether a layer uses batch statistics, and whether over all processes."""
    with scope(name), scope('bn'):
        frozen = build.freeze_statistics or build.is_frozen('mean') or build.is_frozen('var')
        of_batch = build.train and not frozen
    return of_batch, of_batch and build.synchronizes


def _can_be_fused(name: str, build: Build) -> bool:
    """Return whether a batch norm and the functions after it can be one function."""
    batch_stat, synchronized = _statistics(name, build)
    return build.cuda and not synchronized and (batch_stat or not build.train)


def _batch_norm(
    x: nn.Variable,
    name: str,
    build: Build,
    decay_rate: float,
    eps: float,
    initial: tuple[float, float],
    fused: bool = False,
    shortcut: nn.Variable | None = None,
) -> nn.Variable:
    """Build a batch norm; if ``fused``, with ReLU and the sum with a shortcut."""
    shape = (1, x.shape[build.channel_axis], 1, 1)
    with scope(name), scope('bn'):
        beta = build.parameter('beta', shape, I.ConstantInitializer(initial[0]))
        gamma = build.parameter('gamma', shape, I.ConstantInitializer(initial[1]))
        mean = build.parameter('mean', shape, I.ConstantInitializer(0), trainable=False)
        var = build.parameter('var', shape, I.ConstantInitializer(1), trainable=False)
    options = _Options(axes=[build.channel_axis], decay_rate=decay_rate, eps=eps)
    batch_stat, synchronized = _statistics(name, build)
    if batch_stat and not synchronized and x.size == mean.size:
        raise TooFewValues(
            'batch norm cannot be trained on one value a channel: take a batch of at least 2, '
            'or larger images'
        )
    communicator = build.communicator if synchronized else None
    nccl = communicator.nnabla if communicator is not None else None
    without_nccl = synchronized and nccl is None
    if without_nccl and build.channel_last:
        raise ValueError('the CPU computes in (N, C, H, W) only')
    if without_nccl or (batch_stat and not (build.cuda or build.channel_last)):
        return sync_batch_norm.batch_norm(x, beta, gamma, mean, var, communicator, decay_rate, eps)
    if build.channel_last:
        flat = (1, 1, 1, mean.size)  # unlinked: statistics must not be the output of a function
        beta, gamma = (F.reshape(p, flat) for p in (beta, gamma))
        mean, var = (p.reshape(flat, unlink=True) for p in (mean, var))
    parameters = beta, gamma, mean, var
    if nccl is not None:
        # In half precision this function also counts the pixels in half, whose largest number is
        # 65504.
        with nn.context_scope(float_context()):
            return F.sync_batch_normalization(x, *parameters, comm=nccl, batch_stat=True, **options)
    if build.cuda and build.train and not batch_stat:
        return scale_and_shift(x, *parameters, eps)
    if fused:
        return F.fused_batch_normalization(
            x, *parameters, shortcut, batch_stat=batch_stat, **options
        )
    return F.batch_normalization(x, *parameters, batch_stat=batch_stat, **options)


def scale_and_shift(
    x: nn.Variable,
    beta: nn.Variable,
    gamma: nn.Variable,
    mean: nn.Variable,
    var: nn.Variable,
    eps: float,
) -> nn.Variable:
    """Apply batch normalisation with the running statistics, as a product and a sum.

    NNabla's own function has no backward pass on Hopper GPUs. Scale and shift are computed in
    float, because a variance can be outside the range of half precision.

    Args:
        x: (N, C, H, W) input map.
        beta: (1, C, 1, 1) shift; (1, 1, 1, C) in a channel_last build, as the next three.
        gamma: Scale.
        mean: Running mean.
        var: Running variance.
        eps: Added to the variance.
    """
    with nn.context_scope(float_context()):
        scale = gamma * F.pow_scalar(var + eps, -0.5)
        shift = beta - mean * scale
    return x * scale + shift
