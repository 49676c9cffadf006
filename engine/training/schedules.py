"""Learning rates as pure functions of the iteration.

rate = learning_rate(ScheduleKeys(lr=0.01), max_iter)
solver.set_learning_rate(rate(iteration))     # iteration 0 is the first step
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from common.sections import Section, SectionError, config_key, plain

# one_cycle, PyTorch's names and defaults
RISING_SHARE = 0.3  # pct_start: of the iterations
START_DIVISOR = 25  # div_factor: the peak over the first value
END_DIVISOR = 1e4  # final_div_factor: the first value over the last one
# Keys that count epochs, and those that count the same in iterations.
EPOCH_KEYS = {'warmup_epochs': 'warmup_iter', 'milestone_epochs': 'milestones'}


@dataclass(frozen=True, kw_only=True)
class ScheduleKeys(Section):
    """The learning rate."""

    schedule: str = config_key(
        'poly',
        'course of the learning rate from the first iteration to the last',
        choices=('poly', 'cosine', 'step', 'one_cycle', 'constant'),
    )
    lr: float | None = config_key(
        None,
        'learning rate at the start, for one_cycle the highest',
        above=0,
        default_text='needed to train',
    )
    min_lr: float = config_key(0.0, 'learning rate at the end of poly and cosine', least=0)
    power: float = config_key(0.9, 'exponent of the schedule poly', above=0)
    milestones: tuple[int, ...] | None = config_key(
        None, 'iterations from which on the schedule step multiplies the rate by gamma', least=1
    )
    milestone_epochs: tuple[int, ...] | None = config_key(
        None, 'milestones, counted in epochs', least=1
    )
    gamma: float = config_key(0.1, 'factor of the rate at a milestone', above=0, most=1)
    warmup_iter: int | None = config_key(
        None,
        'iterations in which the rate rises to that of the schedule',
        least=0,
        default_text='0',
    )
    warmup_epochs: int | None = config_key(None, 'warmup_iter, counted in epochs', least=0)
    warmup_factor: float = config_key(
        0.1, 'share of the rate at which the warm-up starts', least=0, most=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lr is not None and self.min_lr > self.lr:
            raise SectionError('min_lr', f'must be at most lr, {self.lr}, not {self.min_lr}')
        for in_epochs, in_iterations in EPOCH_KEYS.items():
            if None not in (getattr(self, in_epochs), getattr(self, in_iterations)):
                raise SectionError(f'{in_epochs}, {in_iterations}', 'give one of them')
        for key in ('milestones', 'milestone_epochs'):
            _check_ascending(key, getattr(self, key) or ())


def poly(iteration: int, *, lr: float, min_lr: float, max_iter: int, power: float) -> float:
    """Polynomial decay from ``lr`` at iteration 0 towards ``min_lr``, which it reaches at
    ``max_iter``.

    Source: sony/ai-research-code, commit cfe96dfeef567eaaaffe0045b5bcab9ca7fb9e00,
    d3net/semantic-segmentation/lr_scheduler.py.
    """
    return min_lr + (lr - min_lr) * (1 - iteration / max_iter) ** power


def constant(iteration: int, *, lr: float) -> float:
    """``lr`` throughout."""
    return lr


def cosine(iteration: int, *, lr: float, min_lr: float, max_iter: int) -> float:
    """Half a cosine wave from ``lr`` at iteration 0 down to ``min_lr`` at ``max_iter``.

    Loshchilov, Hutter, 2017, arXiv:1608.03983, without restarts; PyTorch's CosineAnnealingLR in
    closed form.
    """
    return _between(lr, min_lr, iteration / max_iter)


def step(iteration: int, *, lr: float, milestones: Sequence[int], gamma: float) -> float:
    """``lr``, multiplied by ``gamma`` from each of the ascending ``milestones`` on.

    PyTorch's MultiStepLR, counted in iterations.
    """
    return lr * gamma ** bisect_right(milestones, iteration)


def one_cycle(iteration: int, *, lr: float, max_iter: int) -> float:
    """Up to the peak ``lr`` in the first 30 % of the iterations, then down, both half cosines.

    From ``lr / 25`` at iteration 0, through ``lr`` at iteration ``0.3 * max_iter - 1``, to ``lr /
    25e4`` at the last iteration, ``max_iter - 1``. Smith, Topin, 2018, arXiv:1708.07120; PyTorch's
    OneCycleLR with its defaults.
    """
    first = lr / START_DIVISOR
    peak = RISING_SHARE * max_iter - 1
    if iteration <= peak:
        return _between(first, lr, iteration / peak)
    return _between(lr, first / END_DIVISOR, (iteration - peak) / (max_iter - 1 - peak))


def warm_up(iteration: int, *, iterations: int, factor: float) -> float:
    """What a learning rate is multiplied by: from ``factor`` at iteration 0 linearly to 1 at
    ``iterations``, and 1 from there on.

    The schedule below it runs on from iteration 0, it does not wait: mmcv's ``warmup='linear'`` and
    PyTorch's LinearLR beside another scheduler do the same.
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
    """Return the learning rate of each iteration below ``max_iter``.

    Args:
        keys: The schedule.
        max_iter: The length of the training in iterations.
        factor: Multiplies ``lr`` and ``min_lr``.
        milestones: In iterations, in place of those of ``keys``.
        warmup_iter: In place of that of ``keys``.

    Raises:
        SectionError: A key is missing that the schedule needs, or milestones do not ascend.
    """
    if keys.lr is None:
        raise SectionError('lr', 'a training needs it')
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
        _check_ascending('milestones', steps)  # epochs may be rounded to the same iteration
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
        raise SectionError(key, f'must ascend, not {plain(values)}')


def _between(first: float, last: float, share: float) -> float:
    """``first`` at share 0, ``last`` at share 1, half a cosine wave between them."""
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2
