"""What a config means for a number of processes and samples: length, rates, intervals."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from common.errors import UserError
from common.sections import Section, SectionError, config_key, plain
from engine.training import schedules
from engine.training.optimizer import SolverKeys
from engine.training.schedules import ScheduleKeys
from layers.build import RECOMPUTE_POLICIES


@dataclass(frozen=True, kw_only=True)
class TrainingKeys(Section):
    """How long a training is, in what portions, and what it writes when."""

    batch_size: int | None = config_key(
        None, 'images of a backward pass, for each process', least=1, default_text='needed to train'
    )
    accumulation: int = config_key(1, 'backward passes before each update', least=1)
    reference_batch: int | None = config_key(
        None,
        'images of an update, over all processes, that rates and iterations are meant for; with '
        'more of them rates rise and iterations fall in proportion',
        least=1,
        default_text='the images of an update',
    )
    max_iter: int | None = config_key(
        None,
        'length of the training in updates',
        least=1,
        default_text='needed to train, or epochs',
    )
    epochs: int | None = config_key(
        None,
        'length of the training in passes over the training split, in place of max_iter',
        least=1,
    )
    save_interval: int = config_key(1000, 'updates between two saved files of weights', least=1)
    save_minutes: float = config_key(10.0, 'most minutes between two saved states', above=0)
    val_interval: int | None = config_key(
        None, 'updates between two validations', least=1, default_text='save_interval'
    )
    keep_checkpoints: int = config_key(
        1, 'number of latest files of weights that are kept', least=1
    )
    recompute: str = config_key(
        'none',
        'what the backward pass computes again instead of keeping it in memory',
        choices=RECOMPUTE_POLICIES,
    )
    freeze: tuple[str, ...] = config_key(
        (), 'patterns of the names of parameters that are not trained'
    )
    freeze_statistics: bool = config_key(
        False, 'whether batch norms take their running statistics, and leave them as they are'
    )

    def needed_batch_size(self) -> int:
        """Return ``batch_size``, which has no default.

        Raises:
            SectionError: The config does not give it.
        """
        if self.batch_size is None:
            raise SectionError('batch_size', 'a training needs it')
        return self.batch_size


@dataclass(frozen=True)
class Recipe:
    """A training, in iterations of one update each.

    max_iter: the length. rate: the learning rate of an iteration, counted from 0. weight_decay: as
        it is added to the gradients. gradient_factor: by which the gradients, which are those of
        the mean over all processes, are multiplied. batch_size: per process and backward pass.
        accumulation: backward passes an update. save_minutes: after which the state is saved also
        between two multiples of save_interval.
    """

    max_iter: int
    rate: Callable[[int], float]
    weight_decay: float
    gradient_factor: float
    batch_size: int
    accumulation: int
    save_interval: int
    save_minutes: float
    val_interval: int
    keep_checkpoints: int


def from_keys(
    training: TrainingKeys,
    schedule: ScheduleKeys,
    solver: SolverKeys,
    samples: int,
    processes: int,
) -> Recipe:
    """Return the recipe of a training.

    ``reference_batch`` scales as sony/ai-research-code does (d3net/semantic-segmentation/train.py
    at cfe96dfe): with k times that batch over all processes, the rates are k times as high, and
    ``max_iter``, ``milestones`` and ``warmup_iter`` a k-th. ``gradient_reduction: sum`` multiplies
    gradients and weight decay by the number of processes, as it does too. ``warmup_epochs`` and
    ``milestone_epochs`` become ``warmup_iter`` and ``milestones``, rounded to whole iterations.

    Args:
        training: The length, the batch and the intervals.
        schedule: The learning rate.
        solver: Its weight decay, and how gradients are reduced over processes.
        samples: Of the training split.
        processes: That train together, each with ``batch_size``.

    Raises:
        UserError: What a training needs is missing, or nothing is left after scaling.
    """
    batch_size = training.needed_batch_size()
    if schedule.lr is None:
        raise SectionError('lr', 'a training needs it')
    batch = batch_size * training.accumulation * processes
    factor = batch / (training.reference_batch or batch)
    max_iter = _length(training, samples, batch, factor)
    summed = processes if solver.gradient_reduction == 'sum' else 1
    save_interval = min(training.save_interval, max_iter)
    return Recipe(
        max_iter=max_iter,
        rate=schedules.learning_rate(
            schedule,
            max_iter,
            factor=factor,
            milestones=_milestones(training, schedule, max_iter, factor, samples / batch),
            warmup_iter=_warmup_iter(schedule, factor, samples / batch),
        ),
        weight_decay=solver.weight_decay * summed,
        gradient_factor=summed,
        batch_size=batch_size,
        accumulation=training.accumulation,
        save_interval=save_interval,
        save_minutes=training.save_minutes,
        val_interval=training.val_interval or save_interval,
        keep_checkpoints=training.keep_checkpoints,
    )


def _length(training: TrainingKeys, samples: int, batch: int, factor: float) -> int:
    """Return the iterations of a training with ``batch`` images each, ``factor`` times the
    reference.
    """
    if training.epochs is not None and training.max_iter is None:
        return -(-training.epochs * samples // batch)
    if training.max_iter is None or training.epochs is not None:
        raise SectionError('max_iter, epochs', 'a training needs one of them')
    max_iter = training.max_iter * (training.reference_batch or batch) // batch
    if max_iter < 1:
        raise UserError(
            f'max_iter: nothing is left of {training.max_iter} iterations with {factor:g} times '
            f'the reference_batch, {training.reference_batch}'
        )
    return max_iter


def _milestones(
    training: TrainingKeys, schedule: ScheduleKeys, max_iter: int, factor: float, epoch: float
) -> list[int] | None:
    """Return the milestones in iterations of ``factor`` times the reference batch; None without.

    Args:
        max_iter: The length after scaling.
        epoch: The iterations of an epoch.

    Raises:
        UserError: Scaled milestones fall together, or on the start or the end.
    """
    if schedule.schedule != 'step':
        return None
    if schedule.milestone_epochs is not None:
        return [round(number * epoch) for number in schedule.milestone_epochs]
    if schedule.milestones is None or factor == 1:
        return None
    given, end = schedule.milestones, training.max_iter or math.inf
    scaled = [round(milestone / factor) for milestone in given]
    lost = sum(m >= max_iter for m in scaled) > sum(m >= end for m in given)
    if len(set(scaled)) < len(scaled) or scaled[0] < 1 or lost:
        raise UserError(
            f'milestones: {plain(given)} become {scaled} of {max_iter} iterations with {factor:g} '
            f'times the reference_batch, {training.reference_batch}'
        )
    return scaled


def _warmup_iter(schedule: ScheduleKeys, factor: float, epoch: float) -> int:
    """Return the iterations of the warm-up; the arguments are those of :func:`_milestones`."""
    if schedule.warmup_epochs is not None:
        return round(schedule.warmup_epochs * epoch)
    iterations = schedule.warmup_iter or 0
    return iterations if factor == 1 else round(iterations / factor)
