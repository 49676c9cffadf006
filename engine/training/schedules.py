"""Compute learning rates as pure functions of the iteration.

rate = learning_rate(ScheduleKeys(lr=0.01), max_iter)
solver.set_learning_rate(rate(iteration))     # iteration 0 is the first step
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from common.sections import Section, SectionError, config_key, plain
from common.terminal.short_repr import short_repr

# Constants of one_cycle, with PyTorch's names and defaults.
RISING_SHARE = 0.3  # pct_start: share of the iterations
START_DIVISOR = 25  # div_factor: peak / first value
END_DIVISOR = 1e4  # final_div_factor: first value / last value
# Keys in epochs, and their counterparts in iterations.
EPOCH_KEYS = {'warmup_epochs': 'warmup_iter', 'milestone_epochs': 'milestones'}


@dataclass(frozen=True, kw_only=True)
class ScheduleKeys(Section):
    """The learning-rate schedule."""

    schedule: str = config_key(
        'poly',
        'schedule of the learning rate over the training',
        choices=('poly', 'cosine', 'step', 'one_cycle', 'constant'),
    )
    lr: float | None = config_key(
        None,
        'initial learning rate; for one_cycle, the highest one',
        above=0,
        default_text='required for training',
    )
    min_lr: float = config_key(0.0, 'final learning rate of poly and cosine', least=0)
    power: float = config_key(0.9, 'exponent of the schedule poly', above=0)
    milestones: tuple[int, ...] | None = config_key(
        None, 'iterations at which the schedule step multiplies the learning rate by gamma', least=1
    )
    milestone_epochs: tuple[int, ...] | None = config_key(None, 'milestones in epochs', least=1)
    gamma: float = config_key(0.1, 'factor of the learning rate at a milestone', above=0, most=1)
    warmup_iter: int | None = config_key(
        None,
        'iterations of the linear warm-up to the learning rate of the schedule',
        least=0,
        default_text='0',
    )
    warmup_epochs: int | None = config_key(None, 'warmup_iter in epochs', least=0)
    warmup_factor: float = config_key(
        0.1, 'share of the learning rate at which the warm-up starts', least=0, most=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lr is not None and self.min_lr > self.lr:
            raise SectionError('min_lr', f'must be at most lr, {self.lr}, not {self.min_lr}')
        for in_epochs, in_iterations in EPOCH_KEYS.items():
            if None not in (getattr(self, in_epochs), getattr(self, in_iterations)):
                raise SectionError(
                    f'{in_epochs}, {in_iterations}',
                    f'both are set; drop one with --set {in_epochs}=null or --set '
                    f'{in_iterations}=null',
                )
        for key in ('milestones', 'milestone_epochs'):
            _check_ascending(key, getattr(self, key) or ())


def poly(iteration: int, *, lr: float, min_lr: float, max_iter: int, power: float) -> float:
    """Return the learning rate of a polynomial decay from ``lr`` to ``min_lr``.

    Source: sony/ai-research-code, commit cfe96dfeef567eaaaffe0045b5bcab9ca7fb9e00,
    d3net/semantic-segmentation/lr_scheduler.py.

    Args:
        iteration: The iteration, counted from 0.
        lr: The learning rate at iteration 0.
        min_lr: The learning rate at iteration ``max_iter``.
        max_iter: Length of the training in iterations.
        power: Exponent of the remaining share of the training.
    """
    return min_lr + (lr - min_lr) * (1 - iteration / max_iter) ** power


def constant(iteration: int, *, lr: float) -> float:
    """Return the constant learning rate ``lr``."""
    return lr


def cosine(iteration: int, *, lr: float, min_lr: float, max_iter: int) -> float:
    """Return the learning rate of a decay along half a cosine wave from ``lr`` to ``min_lr``.

    Loshchilov, Hutter, 2017, arXiv:1608.03983, without restarts; PyTorch's CosineAnnealingLR in
    closed form.

    Args:
        iteration: The iteration, counted from 0.
        lr: The learning rate at iteration 0.
        min_lr: The learning rate at iteration ``max_iter``.
        max_iter: Length of the training in iterations.
    """
    return _between(lr, min_lr, iteration / max_iter)


def step(iteration: int, *, lr: float, milestones: Sequence[int], gamma: float) -> float:
    """Return the learning rate of a decay in steps: PyTorch's MultiStepLR, counted in iterations.

    Args:
        iteration: The iteration, counted from 0.
        lr: The learning rate before the first milestone.
        milestones: Ascending iterations, each of which multiplies the learning rate by ``gamma``.
        gamma: Factor of the learning rate at a milestone.
    """
    return lr * gamma ** bisect_right(milestones, iteration)


def one_cycle(iteration: int, *, lr: float, max_iter: int) -> float:
    """Return the learning rate of the one-cycle policy.

    The rate rises to the peak ``lr`` in the first 30 % of the iterations, then falls; both parts
    are half cosine waves. The rate is ``lr / 25`` at iteration 0, ``lr`` at iteration
    ``0.3 * max_iter - 1`` and ``lr / 25e4`` at the last iteration, ``max_iter - 1``. Smith, Topin,
    2018, arXiv:1708.07120; PyTorch's OneCycleLR with its defaults.
    """
    first = lr / START_DIVISOR
    peak = RISING_SHARE * max_iter - 1
    if iteration <= peak:
        return _between(first, lr, iteration / peak)
    return _between(lr, first / END_DIVISOR, (iteration - peak) / (max_iter - 1 - peak))


def warm_up(iteration: int, *, iterations: int, factor: float) -> float:
    """Return the factor of the learning rate during a linear warm-up.

    The result rises from ``factor`` at iteration 0 to 1 at ``iterations``, and stays 1. The
    schedule runs from iteration 0 and does not wait for the end of the warm-up, as in mmcv's
    ``warmup='linear'`` and in PyTorch's LinearLR beside another scheduler.
    """
    return factor + (1 - factor) * min(iteration / iterations, 1) if iterations else 1.0


def learning_rate(
    keys: ScheduleKeys,
    max_iter: int,
    *,
    factor: float = 1.0,
    milestones: Sequence[int] | None = None,
    warmup_iter: int | None = None,
) -> Callable[[int], float]:
    """Return a function from the iteration, below ``max_iter``, to its learning rate.

    Args:
        keys: The schedule's keys.
        max_iter: Length of the training in iterations.
        factor: Multiplies ``lr`` and ``min_lr``.
        milestones: Milestones in iterations; by default those of ``keys``.
        warmup_iter: Iterations of the warm-up; by default those of ``keys``.

    Raises:
        SectionError: A key that the schedule needs is missing, or milestones do not ascend.
    """
    if keys.lr is None:
        raise SectionError('lr', 'required for training')
    lr, min_lr = factor * keys.lr, factor * keys.min_lr
    schedule: Callable[[int], float]
    if keys.schedule == 'poly':
        schedule = partial(poly, lr=lr, min_lr=min_lr, max_iter=max_iter, power=keys.power)
    elif keys.schedule == 'cosine':
        schedule = partial(cosine, lr=lr, min_lr=min_lr, max_iter=max_iter)
    elif keys.schedule == 'step':
        steps = milestones or keys.milestones
        if not steps:
            raise SectionError('milestones', 'the schedule step needs them, or milestone_epochs')
        _check_ascending('milestones', steps)  # two epochs can round to the same iteration
        schedule = partial(step, lr=lr, milestones=steps, gamma=keys.gamma)
    elif keys.schedule == 'one_cycle':
        schedule = partial(one_cycle, lr=lr, max_iter=max_iter)
    else:
        schedule = partial(constant, lr=lr)
    iterations = keys.warmup_iter if warmup_iter is None else warmup_iter
    warm = partial(warm_up, iterations=iterations or 0, factor=keys.warmup_factor)
    return lambda iteration: warm(iteration) * schedule(iteration)


def _check_ascending(key: str, values: Sequence[int]) -> None:
    if list(values) != sorted(set(values)):
        raise SectionError(key, f'must ascend, not {short_repr(plain(values))}')


def _between(first: float, last: float, share: float) -> float:
    """Interpolate from ``first`` at share 0 to ``last`` at share 1 along half a cosine wave."""
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2
