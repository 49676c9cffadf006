"""Measure how well the maps of two backends agree."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from common.tasks import DEPTH, Task, channel_slices
from engine.backends.base import Backend, Model
from engine.backends.differences import absolute_difference, largest_magnitude
from engine.backends.errors import BackendError

TOLERANCE = 1e-4  # relative to the largest logit, or the largest depth
EQUAL_DEPTH = 0.01  # relative difference of depths that count as equal


@dataclass(frozen=True)
class Agreement:
    """The agreement between the maps of two backends on some images: logits, or metres of depth.

    Attributes:
        max_difference: Largest absolute difference of values.
        max_logit: Largest absolute value of the reference.
        equal_labels: Share of pixels to which both give the same label, or nearly the same depth,
            0 to 1.
        images: Number of images compared.
    """

    max_difference: float
    max_logit: float
    equal_labels: float
    images: int = 1

    @property
    def exact(self) -> bool:
        """Whether the difference is within rounding error; False if a logit is NaN or infinite."""
        finite = bool(np.isfinite(self.max_logit))
        return finite and self.max_difference <= TOLERANCE * self.max_logit

    @classmethod
    def of_facts(cls, facts: Any) -> 'Agreement':
        """Restore an agreement from its fields; raise ``BackendError`` if they are not whole."""
        whole = isinstance(facts, dict) and facts.keys() == {each.name for each in fields(cls)}
        if not whole or not all(type(value) in (int, float) for value in facts.values()):
            raise BackendError('a cached model has no valid agreement with NNabla')
        return cls(**facts)

    def __str__(self):
        return (
            f'{describe_difference(self.max_difference)}, of logits up to {self.max_logit:.3g}, '
            f'{self.equal_labels:.2%} of labels equal'
        )


def describe_difference(largest: float) -> str:
    """Return the largest difference of two results in words."""
    return f'largest difference {largest:.1e}' if largest else 'no difference'


def measure_agreement(
    reference: Backend | Model,
    model: Model,
    inputs: Iterable[np.ndarray],
    tasks: Sequence[Task] = (),
) -> Agreement:
    """Compare the maps of a model with those of a reference.

    Args:
        reference: A backend or model with the expected maps.
        model: The model to compare.
        inputs: Normalised inputs, each (N, 3k, H, W) float32.
        tasks: The tasks of the network; () for one with classes.

    Returns:
        The agreement; of several tasks, that of the task which agrees least.
    """
    parts = channel_slices(tasks) or [slice(None)]
    found: list[list[Agreement]] = [[] for _ in parts]
    for x in inputs:
        expected, maps = reference.run(x), model.run(x)
        for task, (own, channels) in enumerate(zip(found, parts)):
            depth = bool(tasks) and tasks[task].kind == DEPTH
            own.append(_agreement_of(expected[:, channels], maps[:, channels], depth))
    return min((_joined(own) for own in found), key=_margin)


def _agreement_of(expected: np.ndarray, found: np.ndarray, depth: bool) -> Agreement:
    """Return the agreement of one task's maps, (N, channels, h, w), for one image."""
    difference = absolute_difference(expected, found)
    if depth:  # instead of equal labels
        equal = difference <= EQUAL_DEPTH * np.abs(expected)
    else:
        equal = expected.argmax(axis=1) == found.argmax(axis=1)
    return Agreement(
        float(difference.max()), float(largest_magnitude(expected)), float(np.mean(equal))
    )


def _joined(agreements: Sequence[Agreement]) -> Agreement:
    """Return the agreement over several images."""
    return Agreement(
        # Unlike max(), np.max() keeps a NaN.
        float(np.max([each.max_difference for each in agreements])),
        max(each.max_logit for each in agreements),
        float(np.mean([each.equal_labels for each in agreements])),
        len(agreements),
    )


def _margin(agreement: Agreement) -> float:
    """Return the largest logit in relation to the largest difference: the smaller, the worse."""
    numbers = agreement.max_difference, agreement.max_logit
    if not np.isfinite(numbers).all():
        return -np.inf
    return agreement.max_logit / agreement.max_difference if agreement.max_difference else np.inf
