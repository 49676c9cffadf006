"""Derive the hyperparameters of a training from its config, processes and samples."""

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
    """Length, batch size, checkpoint intervals and frozen parameters of a training."""

    batch_size: int | None = config_key(
        None,
        'images per process and backward pass',
        least=1,
        most=1 << 16,
        default_text='required for training',
    )
    accumulation: int = config_key(1, 'backward passes per update', least=1, most=1 << 16)
    reference_batch: int | None = config_key(
        None,
        'images per update, over all processes, that learning rates and iterations refer to; with '
        'more images, rates rise and iterations fall in proportion',
        least=1,
        default_text='the images per update',
    )
    max_iter: int | None = config_key(
        None,
        'length of the training in updates',
        least=1,
        default_text='this or epochs is required for training',
    )
    epochs: int | None = config_key(
        None,
        'length of the training in epochs, instead of max_iter',
        least=1,
    )
    save_interval: int = config_key(1000, 'updates between two saved weight files', least=1)
    save_minutes: float = config_key(10.0, 'maximum minutes between two saved states', above=0)
    val_interval: int | None = config_key(
        None, 'updates between two validations', least=1, default_text='save_interval'
    )
    keep_checkpoints: int = config_key(1, 'number of most recent weight files to keep', least=1)
    recompute: str = config_key(
        'none',
        'activations that the backward pass recomputes to save memory',
        choices=RECOMPUTE_POLICIES,
    )
    freeze: tuple[str, ...] = config_key(
        (), 'patterns of the names of parameters that are not trained'
    )
    freeze_statistics: bool = config_key(
        False, 'whether batch norms use their running statistics and do not update them'
    )

    def needed_batch_size(self) -> int:
        """Return ``batch_size``, which has no default.

        Raises:
            SectionError: The config has no ``batch_size``.
        """
        if self.batch_size is None:
            raise SectionError('batch_size', 'required for training')
        return self.batch_size


@dataclass(frozen=True)
class Hyperparameters:
    """The hyperparameters of a training; an iteration is one update.

    Attributes:
        max_iter: Length of the training in iterations.
        rate: Returns the learning rate of an iteration, counted from 0.
        weight_decay: Factor of the L2 regularisation; with adamw, of the decoupled decay.
        gradient_factor: Factor of the gradients of the mean loss over all processes.
        batch_size: Images per process and backward pass.
        accumulation: Backward passes per update.
        save_interval: Iterations between two saved weight files and states.
        save_minutes: Maximum minutes between two saved states.
        val_interval: Iterations between two validations.
        keep_checkpoints: Number of most recent weight files to keep.
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


def derive_hyperparameters(
    training: TrainingKeys,
    schedule: ScheduleKeys,
    solver: SolverKeys,
    samples: int,
    processes: int,
) -> Hyperparameters:
    """Derive the hyperparameters of a training from its keys.

    ``reference_batch`` scales as sony/ai-research-code does (d3net/semantic-segmentation/train.py
    at cfe96dfe): with k times that batch over all processes, the learning rates are k times as
    high, and ``max_iter``, ``milestones`` and ``warmup_iter`` are divided by k.
    ``gradient_reduction: sum`` multiplies gradients and weight decay by the number of processes, as
    the same code does. ``warmup_epochs`` and ``milestone_epochs`` are converted to ``warmup_iter``
    and ``milestones``, rounded to whole iterations.

    Args:
        training: Length, batch and intervals.
        schedule: The learning-rate schedule.
        solver: The weight decay, and the reduction of gradients over processes.
        samples: Number of samples of the training split.
        processes: Number of processes that train together, each with ``batch_size``.

    Raises:
        UserError: A required key is missing, or scaling leaves no iterations.
    """
    batch_size = training.needed_batch_size()
    if schedule.lr is None:
        raise SectionError('lr', 'required for training')
    batch = batch_size * training.accumulation * processes
    factor = batch / (training.reference_batch or batch)
    max_iter = _length(training, samples, batch, factor)
    summed = processes if solver.gradient_reduction == 'sum' else 1
    save_interval = min(training.save_interval, max_iter)
    return Hyperparameters(
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
    """Return the length of the training in updates.

    Args:
        training: The keys of the training.
        samples: Number of samples of the training split.
        batch: Images per update, over all processes.
        factor: Images per update over the reference batch.

    Raises:
        UserError: The length is missing or given twice, or scaling leaves no iterations.
    """
    if training.epochs is not None and training.max_iter is None:
        return -(-training.epochs * samples // batch)
    if training.max_iter is None:
        raise SectionError('max_iter, epochs', 'a training needs one of them; neither is set')
    if training.epochs is not None:
        raise SectionError(
            'max_iter, epochs',
            'a training needs one of them and both are set; drop the other with --set '
            'max_iter=null or --set epochs=null',
        )
    max_iter = training.max_iter * (training.reference_batch or batch) // batch
    if max_iter < 1:
        raise UserError(
            f'max_iter: {training.max_iter} iterations become 0 with {factor:g} times the '
            f'reference_batch, {training.reference_batch}'
        )
    return max_iter


def _milestones(
    training: TrainingKeys, schedule: ScheduleKeys, max_iter: int, factor: float, epoch: float
) -> list[int] | None:
    """Return the scaled milestones; None if the schedule has none or they need no scaling.

    Args:
        training: The keys of the training.
        schedule: The keys of the schedule.
        max_iter: The length after scaling.
        factor: Images per update over the reference batch.
        epoch: Iterations per epoch.

    Raises:
        UserError: Scaled milestones coincide with each other, the start or the end.
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
    """Return the iterations of the warm-up; :func:`_milestones` describes the arguments."""
    if schedule.warmup_epochs is not None:
        return round(schedule.warmup_epochs * epoch)
    iterations = schedule.warmup_iter or 0
    return iterations if factor == 1 else round(iterations / factor)
