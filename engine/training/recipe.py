"""What a config means for a number of processes and samples: length, rates, intervals."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from common.errors import UserError
from common.sections import Section, config_key
from engine.training import schedules

# Keys that count epochs, and those that count the same in iterations.
EPOCH_KEYS = {'warmup_epochs': 'warmup_iter', 'milestone_epochs': 'milestones'}
SAVE_INTERVAL = 1000  # iterations, unless the config says so
SAVE_MINUTES = 10  # likewise


@dataclass(frozen=True, kw_only=True)
class TrainingKeys(Section):
    """How long a training is, in what portions, and what it writes when."""

    batch_size: int | None = config_key(
        None, 'images of one backward pass of one process', least=1, default_text='needed to train'
    )
    accumulation: int = config_key(1, 'backward passes of an update', least=1)
    reference_batch: int | None = config_key(
        None,
        'images of an update, over all processes, that rates and iterations are meant for; with '
        'more of them rates rise and iterations fall in proportion',
        least=1,
        default_text='the images of an update',
    )
    max_iter: int | None = config_key(
        None, 'length in updates', least=1, default_text='needed to train, or epochs'
    )
    epochs: int | None = config_key(
        None, 'length in passes over the training split', least=1, default_text='max_iter'
    )
    save_interval: int = config_key(1000, 'updates between two files of weights', least=1)
    save_minutes: float = config_key(
        10.0, 'minutes after which the state is saved at the latest', above=0
    )
    val_interval: int | None = config_key(
        None, 'updates between two validations', least=1, default_text='save_interval'
    )
    keep_checkpoints: int = config_key(1, 'files of weights that are kept', least=1)
    recompute: str = config_key(
        'none',
        'what the backward pass computes again to save memory',
        choices=('none', 'bn_relu', 'convolution', 'blocks'),
    )
    freeze: tuple[str, ...] = config_key((), 'patterns of parameters that stay as they are')
    freeze_statistics: bool = config_key(
        False, 'batch norms use and keep the statistics that they have'
    )


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


def from_config(config: Mapping, samples: int, processes: int) -> Recipe:
    """The recipe of a config; raises ``UserError`` for one that lacks what a training needs.

    samples: of the training split. processes: that train together, each with ``batch_size``.

    ``reference_batch`` scales as sony/ai-research-code does (d3net/semantic-segmentation/train.py
    at cfe96dfe): with k times that batch over all processes, the rates are k times as high, and
    ``max_iter``, ``milestones`` and ``warmup_iter`` a k-th. ``gradient_reduction: sum`` multiplies
    gradients and weight decay by the number of processes, as it does too. ``warmup_epochs`` and
    ``milestone_epochs`` become ``warmup_iter`` and ``milestones``, rounded to whole iterations.
    """
    for key in ('batch_size', 'lr'):
        if key not in config:
            raise UserError(f'{key}: a training needs it')
    if ('max_iter' in config) == ('epochs' in config):
        raise UserError('max_iter, epochs: a training needs one of them')
    batch_size, accumulation = config['batch_size'], config.get('accumulation', 1)
    batch = batch_size * accumulation * processes
    reference = config.get('reference_batch', batch)
    factor = batch / reference
    if 'max_iter' in config:
        max_iter = config['max_iter'] * reference // batch
    else:
        max_iter = -(-config['epochs'] * samples // batch)
    if max_iter < 1:
        raise UserError(
            f'max_iter: nothing is left of {config["max_iter"]} iterations with {factor:g} times '
            f'the reference_batch, {config["reference_batch"]}'
        )
    summed = processes if config.get('gradient_reduction', 'mean') == 'sum' else 1
    save_interval = min(config.get('save_interval', SAVE_INTERVAL), max_iter)
    return Recipe(
        max_iter=max_iter,
        rate=schedules.from_config(
            _in_iterations(_scaled(config, factor, max_iter), samples / batch), max_iter, factor
        ),
        weight_decay=config.get('weight_decay', 0) * summed,
        gradient_factor=summed,
        batch_size=batch_size,
        accumulation=accumulation,
        save_interval=save_interval,
        save_minutes=config.get('save_minutes', SAVE_MINUTES),
        val_interval=config.get('val_interval', save_interval),
        keep_checkpoints=config.get('keep_checkpoints', 1),
    )


def _scaled(config: Mapping, factor: float, max_iter: int) -> dict:
    """The config with its iterations of a schedule for ``factor`` times the batch.

    Raises ``UserError`` when milestones fall together, or on the start or the end.
    """
    scaled = dict(config)
    if factor == 1:
        return scaled
    if 'warmup_iter' in config:
        scaled['warmup_iter'] = round(config['warmup_iter'] / factor)
    if config.get('schedule') == 'step' and config.get('milestones'):
        given = schedules.milestones_of(config)
        milestones = [round(milestone / factor) for milestone in given]
        lost = sum(m >= max_iter for m in milestones) > sum(
            m >= config.get('max_iter', math.inf) for m in given
        )
        if len(set(milestones)) < len(milestones) or milestones[0] < 1 or lost:
            raise UserError(
                f'milestones: {given} become {milestones} of {max_iter} iterations with {factor:g} '
                f'times the reference_batch, {config.get("reference_batch")}'
            )
        scaled['milestones'] = milestones
    return scaled


def _in_iterations(config: Mapping, length: float) -> dict:
    """The config with iterations for epochs, each of which has ``length`` of them."""
    counted = dict(config)
    for key, in_iterations in EPOCH_KEYS.items():
        if key in config:
            if in_iterations in config:
                raise UserError(f'{key}, {in_iterations}: give one of them')
            epochs = counted.pop(key)
            several = isinstance(epochs, list)
            counted[in_iterations] = (
                [round(e * length) for e in epochs] if several else round(epochs * length)
            )
    return counted
