"""Which samples a batch has: a pure function of the seed and of where training stands.

The epochs follow each other in one endless sequence, each a permutation of all samples. Batches are
cut from it one after the other, and dealt out to the ranks in turn. So every sample is used exactly
once an epoch over all ranks, ranks never share a sample, and a batch that an epoch cannot fill is
completed with the first samples of the next.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from common.errors import InputError
from datasets.dataset import Dataset

EPOCH, SAMPLE, BATCH, REPLACEMENT = range(4)  # what random numbers are for
UNREADABLE = 1, 1  # the size of an image whose head cannot be read


@dataclass(frozen=True)
class SamplerState:
    """Where training stands, the same on all ranks.

    batches: given out so far, to all ranks. cursor: samples taken from the sequence. waiting: of
    those the landscapes and the portraits that are in no batch yet, where batches do not mix them.
    """

    batches: int = 0
    cursor: int = 0
    waiting: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())

    @property
    def used(self) -> int:
        """Samples in the batches that were given out."""
        return self.cursor - sum(map(len, self.waiting))


@dataclass(frozen=True)
class Sampler:
    """The order of ``count`` samples in batches for one of ``ranks``.

    is_portrait: of a sample's index; where it is given, no batch mixes portraits and landscapes.
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
        """Epoch and index of the sample at a position of the endless sequence."""
        epoch, within = divmod(position, self.count)
        return epoch, int(self._permutation(epoch)[within])

    def following(self, state: SamplerState) -> tuple[int, list[tuple[int, int]], SamplerState]:
        """This rank's next batch: its number among those of all ranks, its samples as (epoch,
        index), and the state when all ranks have theirs.
        """
        for rank in range(self.ranks):
            number = state.batches
            members, state = self._cut(state)
            if rank == self.rank:
                own, samples = number, [self.sample(position) for position in members]
        return own, samples, state

    def _cut(self, state: SamplerState) -> tuple[list[int], SamplerState]:
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
    """Random numbers for one purpose, independent of those for every other."""
    return np.random.RandomState(np.random.SeedSequence((seed, *purpose)).generate_state(8))


class Sizes:
    """Heights and widths of the images of a data set, read once.

    skip_bad: an image whose head cannot be read is taken for one of 1x1, instead of raising its
    ``InputError``: whoever loads it will notice.
    """

    def __init__(self, dataset: Dataset, skip_bad: bool):
        self._dataset, self._skip_bad = dataset, skip_bad
        self._known: dict[int, tuple[int, int]] = {}

    def of(self, index: int) -> tuple[int, int]:
        """Height and width."""
        if index not in self._known:
            try:
                self._known[index] = self._dataset.size(index)
            except InputError:
                if not self._skip_bad:
                    raise
                self._known[index] = UNREADABLE
        return self._known[index]

    def is_portrait(self, index: int) -> bool:
        """Whether an image is higher than wide."""
        height, width = self.of(index)
        return height > width
