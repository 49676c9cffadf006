"""Batch normalisation, alone and with what follows it: in which form, over whose statistics, and
what of it a training step frees. Used through :mod:`layers.functions`.
"""

from typing import Protocol, TypedDict

import nnabla as nn
import nnabla.functions as F
import nnabla.initializer as I

from layers import sync_batch_norm
from layers.build import Build, float_context, recompute_if, scope


class Norm(Protocol):
    """A batch norm with what follows it: :func:`batch_norm`, :func:`bn_relu`, :func:`bn_relu6`."""

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
    ) -> nn.Variable: ...


class TooFewValues(ValueError):
    """Batch statistics were asked for over a single value a channel; NNabla's variance would be
    NaN.
    """


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
    """Batch normalisation over N, H and W.

    ``decay_rate`` is the share of the running statistics that a step keeps: 1 - PyTorch's momentum.
    beta, gamma: their initial values. Parameters: ``<name>/bn/beta``, ``gamma``, ``mean``, ``var``,
    each ``(1, C, 1, 1)``. Raises :class:`TooFewValues`, like PyTorch, where batch statistics would
    be of one value a channel.
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
    """:func:`batch_norm`, then ReLU; one function where ``build.cuda``. Same parameters, same
    numbers.
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
    """The end of a residual block: ReLU of :func:`batch_norm` plus ``shortcut``, which has the
    shape of ``x``; one function where ``build.cuda``. Same parameters, same numbers.

    To be called outside of the block that :func:`layers.functions.recomputed_block` marks: under
    that policy the batch norm and the sum are freed, the output is kept. The sum, or the output of
    the one function, is what the policy ``bn_relu`` keeps.
    """
    options = decay_rate, eps, (beta, gamma)
    # In half precision and channel_last, cuDNN's own function does not add to the gradient that a
    # shortcut has from elsewhere already.
    if _can_be_fused(name, build) and not (build.train and build.channel_last):
        return _batch_norm(x, name, build, *options, True, shortcut)
    with recompute_if(build.recompute in ('bn_relu', 'blocks')):
        y = _batch_norm(x, name, build, *options)
    with recompute_if(build.recompute == 'blocks'):
        y = y + shortcut
    with recompute_if(build.recompute == 'bn_relu'):
        return F.relu(y)


def bn_relu6(x: nn.Variable, name: str, build: Build, **options: float) -> nn.Variable:
    """:func:`batch_norm` with its options, then ReLU6, min(max(x, 0), 6); recomputed together."""
    with recompute_if(build.recompute == 'bn_relu'):
        return F.relu6(batch_norm(x, name, build, **options))


class _Options(TypedDict):
    axes: list[int]
    decay_rate: float
    eps: float


def _statistics(name: str, build: Build) -> tuple[bool, bool]:
    """Whether a layer takes the statistics of the batch, and of that of all processes."""
    with scope(name), scope('bn'):
        frozen = build.freeze_statistics or build.is_frozen('mean') or build.is_frozen('var')
        of_batch = build.train and not frozen
    return of_batch, of_batch and build.synchronizes


def _can_be_fused(name: str, build: Build) -> bool:
    """Whether what follows a batch norm can be in its function."""
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
    """Batch normalisation; ``fused``, with the sum, if there is a shortcut, and ReLU."""
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
        flat = (1, 1, 1, mean.size)  # the same memory; statistics may not come out of a function
        beta, gamma = (F.reshape(p, flat) for p in (beta, gamma))
        mean, var = (p.reshape(flat, unlink=True) for p in (mean, var))
    parameters = beta, gamma, mean, var
    if nccl is not None:
        # In half precision it counts the pixels in half as well, where 65504 is the largest number.
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
    """Batch normalisation with the running statistics, as a product and a sum.

    NNabla's own form has no backward pass on Hopper GPUs. Both factors are computed in float: a
    variance may be larger or smaller than numbers in half precision can be.
    """
    with nn.context_scope(float_context()):
        scale = gamma * F.pow_scalar(var + eps, -0.5)
        shift = beta - mean * scale
    return x * scale + shift
