"""Divide groups of images among splits so that each split has its fair part of each class.

The pixels of a class are to be divided as the images are. Iterative stratification (Sechidis,
Tsoumakas and Vlahavas, ECML 2011) does this for labels that an image has or has not. Here their
amounts count, so a greedy choice takes its place: groups with the largest part of some class come
first, and each joins the split whose parts come nearest to the wanted ones. Exchanges of groups
between splits then improve the result, which the greedy choice leaves at its last groups. Of few
groups, exchanges from random splits are tried as well.

With the part S of a class in a split that is to have the part r, the sum of (S - r)^2 / r over
splits and classes is minimized. Rare classes count as much as frequent ones, and the images as much
as all classes together. A split without a pixel of a class that could have some costs more than any
difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ABSENT_COST = 10.0  # of a class without a pixel in a split; all pixels in 10 % of the images: 9
MAX_EXCHANGES, MAX_PARTNERS = 4000, 256  # groups to exchange, and others tried for each
FEW_GROUPS = 20  # random splits are improved as well, and the best is taken


@dataclass(frozen=True)
class Groups:
    """Groups of images that stay together.

    Attributes:
        images: (G,) int64, number of images of each group.
        pixels: (G, C) int64, number of pixels of each class in it.
    """

    images: np.ndarray
    pixels: np.ndarray


def divide(groups: Groups, wanted: Sequence[int], seed: int) -> np.ndarray:
    """Return the split of each group, (G,) int64.

    Args:
        groups: The groups.
        wanted: Number of images for each split; their sum is the number of all images. Groups of
            different sizes can make other numbers of them.
        seed: Seed of the random order of equals.
    """
    rng = np.random.RandomState(seed)
    parts = _Parts(groups, np.array(wanted, np.float64) / sum(wanted))
    starts = [_divide_greedily(parts, groups, wanted, rng)]
    if len(groups.images) <= FEW_GROUPS:
        starts += [divide_at_random(groups, wanted, each) for each in rng.randint(1 << 30, size=20)]
    found = [parts.improved(start, rng) for start in starts]
    return min(found, key=parts.cost)


def _divide_greedily(
    parts: '_Parts', groups: Groups, wanted: Sequence[int], rng: np.random.RandomState
) -> np.ndarray:
    """Return the split of each group, (G,) int64, as the greedy choice makes them."""
    parts.clear()
    order = rng.permutation(len(groups.images))
    order = order[np.argsort(-parts.features[order].max(axis=1), kind='stable')]
    room = np.array(wanted, np.int64)
    for group in order:
        fitting = np.flatnonzero(room >= groups.images[group])
        if not fitting.size:
            fitting = np.flatnonzero(room == room.max())
        chosen = fitting[np.argmin(parts.costs_of_adding(group, fitting))]
        parts.add(group, chosen)
        room[chosen] -= groups.images[group]
    return parts.split.copy()


def divide_at_random(groups: Groups, wanted: Sequence[int], seed: int) -> np.ndarray:
    """Return a random split of each group, (G,) int64; arguments as for :func:`divide`."""
    order = np.random.RandomState(seed).permutation(len(groups.images))
    before = np.cumsum(groups.images[order]) - groups.images[order]
    split = np.empty(len(order), np.int64)
    split[order] = np.searchsorted(np.cumsum(wanted), before, side='right')
    return split


def deviations(groups: Groups, split: np.ndarray, splits: int) -> np.ndarray:
    """Return how far the share of each class in each split is from its share in all images.

    Args:
        groups: The groups.
        split: (G,) the split of each group.
        splits: Number of splits, S.

    Returns:
        (S, C) float64, 0.1 for a share 10 % larger or smaller than in all images; NaN for a class
        without a pixel, and for one that fewer groups than splits have.
    """
    pixels = np.stack([groups.pixels[split == each].sum(axis=0) for each in range(splits)])
    shares = pixels / np.maximum(pixels.sum(axis=1, keepdims=True), 1)
    of_all = pixels.sum(axis=0) / max(int(pixels.sum()), 1)
    possible = (groups.pixels > 0).sum(axis=0) >= splits
    with np.errstate(invalid='ignore', divide='ignore'):
        return np.where(possible, np.abs(shares / of_all - 1), np.nan)


class _Parts:
    """The splits while groups are divided.

    Attributes:
        features: (G, F) float64, the part of each class, and of all images, that a group has.
        split: (G,) int64, the split of each group; -1 before it has one.
    """

    def __init__(self, groups: Groups, ratios: np.ndarray):
        pixels = groups.pixels[:, groups.pixels.any(axis=0)]
        has = pixels > 0
        self._has = has.astype(np.int64)
        # The root of a weight, as differences are squared.
        weights = np.append(np.ones(pixels.shape[1]), max(pixels.shape[1], 1) ** 0.5)
        amounts = np.column_stack((pixels, groups.images)).astype(np.float64)
        self.features = amounts / amounts.sum(axis=0) * weights
        self._ratios = ratios
        self._wanted = ratios[:, None] * weights
        self.clear()

    def clear(self) -> None:
        """Take all groups out of the splits."""
        count = len(self._ratios)
        self.split = np.full(len(self.features), -1)
        self._sums = np.zeros((count, self.features.shape[1]))
        self._counts = np.zeros((count, self._has.shape[1]), np.int64)

    def _fill(self, split: np.ndarray) -> None:
        """Put each group into its split."""
        self.clear()
        for number in range(len(self._ratios)):
            self._sums[number] = self.features[split == number].sum(axis=0)
            self._counts[number] = self._has[split == number].sum(axis=0)
        self.split = split.copy()

    def cost(self, split: np.ndarray) -> float:
        """Return the cost of splits."""
        self._fill(split)
        return float(self._costs(np.arange(len(self._ratios)), self._sums, self._counts).sum())

    def costs_of_adding(self, group: int, splits: np.ndarray) -> np.ndarray:
        """Return the change of the cost if a group joins each of some splits."""
        sums, counts = self._sums[splits], self._counts[splits]
        after = self._costs(splits, sums + self.features[group], counts + self._has[group])
        return after - self._costs(splits, sums, counts)

    def add(self, group: int, split: int) -> None:
        """Let a group join a split."""
        self.split[group] = split
        self._sums[split] += self.features[group]
        self._counts[split] += self._has[group]

    def improved(self, split: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
        """Return splits after exchanges of pairs of groups that lower the cost."""
        self._fill(split)
        count = len(self.split)
        for group in rng.permutation(count).repeat(4)[:MAX_EXCHANGES] if count > 1 else ():
            own = self.split[group]
            others = np.flatnonzero(self.split != own)
            if not others.size:
                continue
            if others.size > MAX_PARTNERS:
                others = rng.choice(others, MAX_PARTNERS, replace=False)
            gains = self._costs_of_exchange(group, own, others)
            best = int(np.argmin(gains))
            if gains[best] < -1e-12:
                self._swap(group, int(others[best]))
        return self.split.copy()

    def _costs_of_exchange(self, group: int, own: int, others: np.ndarray) -> np.ndarray:
        """Return the change of the cost for the exchange of a group with each of some others."""
        theirs = self.split[others]
        moved = self.features[others] - self.features[group]
        changed = self._has[others] - self._has[group]
        mine = np.full(len(others), own)
        before = self._costs(mine[:1], self._sums[own], self._counts[own]) + self._costs(
            theirs, self._sums[theirs], self._counts[theirs]
        )
        return (
            self._costs(mine, self._sums[own] + moved, self._counts[own] + changed)
            + self._costs(theirs, self._sums[theirs] - moved, self._counts[theirs] - changed)
            - before
        )

    def _swap(self, group: int, other: int) -> None:
        own, theirs = self.split[group], self.split[other]
        for each, old, new in ((group, own, theirs), (other, theirs, own)):
            self._sums[old] -= self.features[each]
            self._counts[old] -= self._has[each]
            self.add(each, new)

    def _costs(self, splits: np.ndarray, sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return the cost of splits with these sums of features and numbers of groups."""
        differences = ((sums - self._wanted[splits]) ** 2).sum(axis=-1) / self._ratios[splits]
        return differences + ABSENT_COST * (counts == 0).sum(axis=-1)
