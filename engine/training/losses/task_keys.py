"""Config keys of the losses of several tasks."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.sections import Section, SectionError, config_key, keys_of
from common.tasks import Task
from common.terminal.short_repr import short_repr, short_text

FIXED, LEARNED = 'fixed', 'learned'


@dataclass(frozen=True, kw_only=True)
class TaskLossKeys(Section):
    """How the losses of several tasks are combined."""

    task_weights: tuple[float, ...] | None = config_key(
        None,
        'weight of the loss of each task; with task_weighting: learned, the first scales',
        least=0,
        default_text='1 for each',
    )
    task_weighting: str = config_key(
        FIXED,
        'whether the weights of the tasks stay as they are (fixed) or follow the gradients of the '
        "tasks at the encoder's last map (learned)",
        choices=(FIXED, LEARNED),
    )
    task_losses: dict[str, Any] | None = config_key(
        None,
        'keys of the loss that differ for single tasks: `{motion: {class_weights: [0.05, 0.95]}}`',
        default_text='none: the keys of the loss hold for every task of their kind',
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, keys in (self.task_losses or {}).items():
            if not isinstance(keys, Mapping):
                raise SectionError(
                    'task_losses',
                    f'{short_text(name)}: must be a block of "key: value" lines, not '
                    f'{short_repr(keys)}',
                )
        if self.task_weights is not None:
            learned = self.task_weighting == LEARNED
            if not any(self.task_weights) or (learned and not all(self.task_weights)):
                raise SectionError(
                    'task_weights',
                    'must be greater than 0, as learned weights are multiples of them'
                    if learned
                    else 'are all 0; one at least must be greater',
                )

    def weights_of(self, tasks: Sequence[Task]) -> tuple[float, ...]:
        """Return the weight of each task.

        Raises:
            SectionError: The number of weights is not that of the tasks.
        """
        weights = self.task_weights or (1.0,) * len(tasks)
        if len(weights) != len(tasks):
            raise SectionError(
                'task_weights',
                f'{len(weights)} values for {len(tasks)} tasks ({_names(tasks)}); list one for '
                'each',
            )
        return weights

    def of_task(self, task: Task, sections: Iterable[type[Section]]) -> dict[str, Any]:
        """Return the keys of ``task_losses`` for a task.

        Args:
            task: The task.
            sections: The sections whose keys it can have.

        Raises:
            SectionError: A key is not one of them.
        """
        own = (self.task_losses or {}).get(task.name, {})
        known = [key for section in sections for key in keys_of(section)]
        for key in own:
            if key not in known:
                close = difflib.get_close_matches(short_text(key), known, n=1, cutoff=0)
                raise SectionError(
                    'task_losses',
                    f'{task.name}: {short_text(key)}: no key of the loss of {task.kind}; the '
                    f'nearest is {close[0]}',
                )
        return dict(own)

    def check_names(self, tasks: Sequence[Task]) -> None:
        """Check that ``task_losses`` names tasks of the network.

        Raises:
            SectionError: It names another one.
        """
        for name in self.task_losses or {}:
            if name not in (task.name for task in tasks):
                raise SectionError(
                    'task_losses',
                    f'{short_text(name)}: no task of the network; its tasks are {_names(tasks)}',
                )


def _names(tasks: Sequence[Task]) -> str:
    return ', '.join(task.name for task in tasks)
