"""Learning rates as pure functions of the iteration.

learning_rate = from_config(config, max_iter)
solver.set_learning_rate(learning_rate(iteration))     # iteration 0 is the first step
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from common.errors import UserError
from common.sections import Section, SectionError, config_key

# one_cycle, PyTorch's names and defaults
RISING_SHARE = 0.3  # pct_start: of the iterations
START_DIVISOR = 25  # div_factor: the peak over the first value
END_DIVISOR = 1e4  # final_div_factor: the first value over the last one


@dataclass(frozen=True, kw_only=True)
class ScheduleKeys(Section):
    """The learning rate."""

    schedule: str = config_key(
        'poly',
        'how the learning rate changes',
        choices=('poly', 'cosine', 'step', 'one_cycle', 'constant'),
    )
    lr: float | None = config_key(
        None,
        'first learning rate, for one_cycle the highest',
        above=0,
        default_text='needed to train',
    )
    min_lr: float = config_key(0.0, 'last learning rate of poly and cosine', least=0)
    power: float = config_key(0.9, 'exponent of poly', above=0)
    milestones: tuple[int, ...] | None = config_key(
        None, 'iterations at which step multiplies the rate by gamma', least=1
    )
    milestone_epochs: tuple[int, ...] | None = config_key(None, 'milestones in epochs', least=1)
    gamma: float = config_key(0.1, 'factor of step', above=0, most=1)
    warmup_iter: int | None = config_key(
        None, 'iterations in which the rate rises to the schedule', least=0, default_text='0'
    )
    warmup_epochs: int | None = config_key(None, 'warmup_iter in epochs', least=0)
    warmup_factor: float = config_key(
        0.1, 'share of the rate with which the warm-up starts', least=0, most=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lr is not None and self.min_lr > self.lr:
            raise SectionError('min_lr', f'must be at most lr, {self.lr}, not {self.min_lr}')


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


def from_config(config: Mapping, max_iter: int, factor: float = 1.0) -> Callable[[int], float]:
    """The learning rate of each iteration below ``max_iter``.

    ``schedule`` (poly) with its keys: ``lr``, which has no default; ``min_lr`` (0) for poly and
    cosine, ``power`` (0.9) for poly, ``milestones`` and ``gamma`` (0.1) for step. ``warmup_iter``
    (0) and ``warmup_factor`` (0.1) go with each of them. factor: multiplies ``lr`` and ``min_lr``.
    Raises ``UserError`` for keys that are missing or do not fit.
    """
    if 'lr' not in config:
        raise UserError('lr: training needs a learning rate')
    lr, min_lr = factor * config['lr'], factor * config.get('min_lr', 0.0)
    name = config.get('schedule', 'poly')
    if name == 'step':
        schedule = partial(
            step, lr=lr, milestones=milestones_of(config), gamma=config.get('gamma', 0.1)
        )
    else:
        schedule = {
            'poly': partial(
                poly, lr=lr, min_lr=min_lr, max_iter=max_iter, power=config.get('power', 0.9)
            ),
            'cosine': partial(cosine, lr=lr, min_lr=min_lr, max_iter=max_iter),
            'one_cycle': partial(one_cycle, lr=lr, max_iter=max_iter),
            'constant': partial(constant, lr=lr),
        }[name]
    warm = partial(
        warm_up,
        iterations=config.get('warmup_iter', 0),
        factor=config.get('warmup_factor', 0.1),
    )
    return lambda iteration: warm(iteration) * schedule(iteration)


def milestones_of(config: Mapping) -> list[int]:
    """Return the milestones of a config; raises ``UserError`` for none, and for a wrong order."""
    milestones = config.get('milestones')
    if not milestones:
        raise UserError('milestones: the schedule step needs them, or milestone_epochs')
    if milestones != sorted(set(milestones)):
        raise UserError(f'milestones: must ascend, not {milestones}')
    return milestones


def _between(first: float, last: float, share: float) -> float:
    """``first`` at share 0, ``last`` at share 1, half a cosine wave between them."""
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2
