"""Select the samples of each batch: a pure function of the seed and the position in training.

Every epoch is a permutation of all samples, and the epochs form one endless sequence. Consecutive
batches of this sequence go to the ranks in turn, so all ranks together use every sample exactly
once per epoch. The first samples of the next epoch complete the last batch of an epoch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from common.errors import BadSampleError, InputError, UserError
from common.reading.json_text import is_count
from datasets.dataset import Dataset

EPOCH, SAMPLE, BATCH, REPLACEMENT = range(4)  # purposes of random numbers, for generator()
UNREADABLE_SIZE = 1, 1  # used for an image whose header cannot be read


@dataclass(frozen=True)
class SamplerState:
    """The position in training, equal on all ranks.

    Attributes:
        batches: Number of batches returned so far, to all ranks.
        cursor: Number of samples taken from the endless sequence.
        waiting: Positions in the endless sequence of the landscapes and of the portraits that are
            taken but not in a batch yet; empty if batches may mix the two.
    """

    batches: int = 0
    cursor: int = 0
    waiting: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> 'SamplerState':
        """Return the state of these attributes, as JSON transports them.

        Args:
            values: The attributes by name; other keys are ignored.

        Raises:
            UserError: An attribute is missing or has another type or range.
        """
        batches: Any = values.get('batches')
        cursor: Any = values.get('cursor')
        waiting: Any = values.get('waiting')
        if (
            is_count(batches)
            and is_count(cursor)
            and isinstance(waiting, list)
            and len(waiting) == 2
            and all(isinstance(group, list) for group in waiting)
            and all(is_count(each) and each < cursor for group in waiting for each in group)
        ):
            landscapes, portraits = map(tuple, waiting)
            return cls(batches, cursor, (landscapes, portraits))
        raise UserError(
            'batches, cursor and waiting of the saved loader are no position in a training; start '
            'a new run'
        )

    @property
    def used(self) -> int:
        """Number of samples in the batches returned so far."""
        return self.cursor - sum(map(len, self.waiting))


@dataclass(frozen=True)
class Sampler:
    """The order of the samples, divided into batches for one rank.

    Attributes:
        count: Number of samples in the data set.
        batch_size: Number of samples in a batch.
        seed: Seed of the permutations.
        shuffle: Permute the samples in every epoch.
        rank: This rank, from 0.
        ranks: Number of ranks.
        is_portrait: Function that returns whether the image with an index is a portrait. If set, no
            batch mixes portraits and landscapes.
    """

    count: int
    batch_size: int
    seed: int
    shuffle: bool = True
    rank: int = 0
    ranks: int = 1
    is_portrait: Callable[[int], bool] | None = None
    _permutation: Callable[[int], np.ndarray] = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        def permutation(epoch):
            if not self.shuffle:
                return np.arange(self.count)
            return generator(self.seed, EPOCH, epoch).permutation(self.count)

        object.__setattr__(self, '_permutation', lru_cache(maxsize=3)(permutation))

    def sample(self, position: int) -> tuple[int, int]:
        """Return epoch and index of the sample at a position in the endless sequence."""
        epoch, within = divmod(position, self.count)
        return epoch, int(self._permutation(epoch)[within])

    def next_batch(self, state: SamplerState) -> tuple[int, list[tuple[int, int]], SamplerState]:
        """Return this rank's next batch.

        Returns:
            The number of the batch among those of all ranks, its samples as (epoch, index), and
            the state after the batches of all ranks.
        """
        for rank in range(self.ranks):
            number = state.batches
            members, state = self._take_batch(state)
            if rank == self.rank:
                own, samples = number, [self.sample(position) for position in members]
        return own, samples, state

    def _take_batch(self, state: SamplerState) -> tuple[list[int], SamplerState]:
        if self.is_portrait is None:
            end = state.cursor + self.batch_size
            return list(range(state.cursor, end)), SamplerState(state.batches + 1, end)
        cursor, waiting = state.cursor, [list(group) for group in state.waiting]
        while True:
            for kind, group in enumerate(waiting):
                if len(group) >= self.batch_size:
                    members, waiting[kind] = group[: self.batch_size], group[self.batch_size :]
                    landscapes, portraits = map(tuple, waiting)
                    left = landscapes, portraits
                    return members, SamplerState(state.batches + 1, cursor, left)
            waiting[self.is_portrait(self.sample(cursor)[1])].append(cursor)
            cursor += 1


def generator(seed: int, *purpose: int) -> np.random.RandomState:
    """Return a generator of random numbers for one purpose, independent of all others.

    Args:
        seed: Seed of the run.
        *purpose: One of the purposes at the top of this file, then numbers that belong to it, such
            as epoch and index.
    """
    return np.random.RandomState(np.random.SeedSequence((seed, *purpose)).generate_state(8))


class ImageSizes:
    """Heights and widths of the images of a data set, each read once.

    Args:
        dataset: The split.
        skip_bad: Treat an image with an unreadable header as 1x1 instead of raising
            ``BadSampleError``; the worker that loads it reports the problem.
    """

    def __init__(self, dataset: Dataset, skip_bad: bool):
        self._dataset, self._skip_bad = dataset, skip_bad
        self._known: dict[int, tuple[int, int]] = {}

    def of(self, index: int) -> tuple[int, int]:
        """Return height and width of an image; raises ``BadSampleError``."""
        if index not in self._known:
            try:
                self._known[index] = self._dataset.size(index)
            except InputError as error:
                if not self._skip_bad:
                    raise BadSampleError(str(error)) from error
                self._known[index] = UNREADABLE_SIZE
        return self._known[index]

    def is_portrait(self, index: int) -> bool:
        """Return whether an image is higher than wide."""
        height, width = self.of(index)
        return height > width
