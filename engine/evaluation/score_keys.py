"""Config keys of scores, and the one number by which the best weights are chosen.

The score of a class task is its mIoU in percent. That of a depth task is 100 minus the absolute
relative difference in percent, so that more is better for both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.sections import Section, SectionError, config_key
from common.tasks import CLASSES, DEPTH, Task
from engine.inference.test_time import ProtocolKeys


@dataclass(frozen=True, kw_only=True)
class ScoreKeys(Section):
    """Scores of depths, and the choice of the best weights of several tasks."""

    test_depth_range: tuple[float, float] | None = config_key(
        None,
        'depths in metres that scores count: above the first and at most the second; predictions '
        'are clamped to them',
        least=0,
        default_text='all known depths',
    )
    best_task: str | None = config_key(
        None,
        'task whose score decides which weights of a training are the best: mIoU, or 100 - ARD of '
        'depth, in percent',
        default_text='the mean over all tasks, weighted by best_weights',
    )
    best_weights: tuple[float, ...] | None = config_key(
        None,
        'weight of the score of each task in the mean that decides which weights are the best',
        least=0,
        default_text='1 for each',
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        limits = self.test_depth_range
        if limits is not None and not limits[0] < limits[1]:
            raise SectionError(
                'test_depth_range', f'must increase, such as [0, 80], not {list(limits)}'
            )
        if self.best_task is not None and self.best_weights is not None:
            raise SectionError('best_task, best_weights', 'both are set; drop one of them')
        if self.best_weights is not None and not any(self.best_weights):
            raise SectionError('best_weights', 'are all 0; one at least must be greater')

    def weights_of(self, tasks: Sequence[Task]) -> dict[str, float]:
        """Return the weight of the score of each task in the choice of the best weights.

        Args:
            tasks: The tasks; () for a network without the key ``tasks``.

        Raises:
            SectionError: The keys do not fit the tasks.
        """
        names = [task.name for task in tasks]
        for key in ('best_task', 'best_weights', 'test_depth_range'):
            if not tasks and getattr(self, key) is not None:
                raise SectionError(key, 'needs the key tasks; without it the network has one task')
        if tasks and self.test_depth_range is not None and all(t.kind != DEPTH for t in tasks):
            raise SectionError(
                'test_depth_range', f'none of the tasks {", ".join(names)} is depth; leave it out'
            )
        if self.best_task is not None:
            if self.best_task not in names:
                raise SectionError(
                    'best_task',
                    f'{self.best_task} is no task of the network; its tasks are {", ".join(names)}',
                )
            return {name: float(name == self.best_task) for name in names}
        weights = self.best_weights or (1.0,) * len(names)
        if len(weights) != len(names):
            raise SectionError(
                'best_weights',
                f'{len(weights)} values for {len(names)} tasks ({", ".join(names)}); list one for '
                'each',
            )
        return dict(zip(names, weights))


def sections() -> list[type[Section]]:
    """Return the sections of an evaluation: the views of an image, and the scores."""
    return [ProtocolKeys, ScoreKeys]


def task_score(kind: str, report: Mapping[str, Any]) -> float | None:
    """Return the score of a task in percent, of which more is better; None if it is undefined.

    Args:
        kind: The kind of the task.
        report: Its part of the report of an evaluation.
    """
    if kind == CLASSES:
        return report['miou']
    return None if report['ard'] is None else 100 - report['ard']


def combined(scores: Mapping[str, float | None], weights: Mapping[str, float]) -> float | None:
    """Return the weighted mean of the scores of tasks; None if none of them is defined.

    Args:
        scores: The :func:`task_score` of each task; undefined ones are left out.
        weights: The result of :meth:`ScoreKeys.weights_of`.
    """
    known = {name: score for name, score in scores.items() if score is not None and weights[name]}
    if not known:
        return None
    return sum(weights[name] * score for name, score in known.items()) / sum(
        weights[name] for name in known
    )
