"""The loader: batches for training, behind the interface of NNabla's DataIterator.

    with Loader(dataset, transform, 8, info.mean, info.std, workers=4).slice(
        num_of_slices=comm.size, slice_pos=comm.rank
    ) as loader:
        images, labels = loader.next()      # float32 (8, 3, H, W), int32 (8, 1, H, W), -1 ignored

What a batch holds depends on the seed and on its place in training, not on the number of workers.
"""

import weakref
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from common.errors import UserError
from common.log import LOG
from datasets.dataset import Dataset, Sample
from datasets.info import IGNORE
from datasets.loading import sampler
from datasets.loading.sample_workers import (
    Pool,
    SampleRecipe,
    SampleTask,
    batch_arrays,
    batch_bytes,
)
from datasets.loading.sampler import Sampler, SamplerState, Sizes
from datasets.loading.transforms import Batch, Transform


@dataclass
class _Pending:
    """A batch that workers are filling."""

    images: np.ndarray
    labels: np.ndarray
    indices: list[int]
    state: SamplerState
    missing: int
    problems: dict[int, list[str]] = field(default_factory=dict)  # by row
    errors: dict[int, Exception] = field(default_factory=dict)  # by row


class Loader:
    """Endless batches of a data set.

    transform: of :mod:`datasets.loading.augmentations`. mean, std, channel_order: of the network.
    workers: processes that load; with 0 the caller does, in :meth:`next`. prefetch: batches that
    are loaded ahead (default: two, or more where so many workers need it); memory is bounded by
    these and by those whose arrays the caller keeps. skip_bad: a sample that cannot be read is
    logged, counted in ``skipped`` and replaced by another, instead of raised.

    The arrays of a batch belong to the caller. Raises ``InputError`` for files that cannot be used,
    and keeps raising it for that batch; ``UserError``.
    """

    def __init__(
        self,
        dataset: Dataset,
        transform: Transform,
        batch_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        channel_order: str = 'rgb',
        *,
        seed: int = 0,
        shuffle: bool = True,
        workers: int = 1,
        prefetch: int | None = None,
        skip_bad: bool = False,
    ):
        if not len(dataset):
            raise UserError(f'{dataset.info.name}: the split {dataset.split} is empty')
        if batch_size < 1 or workers < 0 or seed < 0 or (prefetch is not None and prefetch < 1):
            raise UserError(
                'batch_size and prefetch must be at least 1, workers and seed at least 0, not '
                f'{batch_size}, {prefetch}, {workers}, {seed}'
            )
        classes = len(dataset.info.classes)
        if transform.pad_label != IGNORE and transform.pad_label >= classes:
            raise UserError(
                f'pad_label: must be a class, 0 to {classes - 1}, or {IGNORE} for ignored, not '
                f'{transform.pad_label}'
            )
        self._recipe = SampleRecipe(
            dataset, transform, tuple(mean), tuple(std), channel_order, seed, skip_bad
        )
        self._most_bytes = batch_bytes(batch_size, transform.largest())
        self._workers, self._prefetch = workers, prefetch or 1 + -(-2 * workers // batch_size)
        self._sizes = Sizes(dataset, skip_bad)
        self._order = Sampler(
            len(dataset),
            batch_size,
            seed,
            shuffle,
            is_portrait=self._sizes.is_portrait if transform.by_aspect else None,
        )
        self._state = SamplerState()
        self._latest: list[int] = []
        self._pool, self._end_pool, self._closed = None, None, False
        self._pending: deque[_Pending] = deque()
        self._unsent: deque[SampleTask] = deque()
        self._awaited: dict[int, tuple[_Pending, int]] = {}  # of tasks: ticket to batch and row
        self._tickets = 0
        self.skipped: Counter[str] = Counter()  # how often each problem was met

    # The interface of nnabla.utils.data_iterator.DataIterator

    @property
    def size(self) -> int:
        """Samples an epoch; of a slice its share, rounded up."""
        return -(-self._order.count // self._order.ranks)

    @property
    def batch_size(self) -> int:
        """Samples a batch."""
        return self._order.batch_size

    @property
    def epoch(self) -> int:
        """Epochs that all slices together have completed."""
        return self._state.used // self._order.count

    @property
    def position(self) -> int:
        """Samples that this slice has given in the current epoch, on average over the slices."""
        return self._state.used % self._order.count // self._order.ranks

    @property
    def samples(self) -> list[Sample]:
        """What the latest batch was loaded from."""
        return [self._recipe.dataset[index] for index in self._latest]

    def next(self) -> tuple[np.ndarray, np.ndarray]:
        """Images, float32 (N, 3, H, W), and labels, int32 (N, 1, H, W), with -1 where ignored."""
        if self._closed:
            raise ValueError('the loader is closed')
        if not self._workers:
            return self._load()
        self._plan()
        head = self._pending[0]
        while head.missing:
            self._receive()
        if head.errors:
            raise head.errors[min(head.errors)]
        self._pending.popleft()
        self._state, self._latest = head.state, head.indices
        for _, problems in sorted(head.problems.items()):
            self._count(problems)
        self._plan()
        return head.images, head.labels

    def reset(self):
        """Back to the first batch of the first epoch."""
        self._go_to(SamplerState())

    def slice(self, rng=None, num_of_slices: int = 1, slice_pos: int = 0) -> 'Loader':
        """The loader of rank ``slice_pos`` of ``num_of_slices``, which starts where this one is,
        and takes its place: the workers of this one end.

        rng: not used, the seed is the same on all ranks; in the place where NNabla has it.
        """
        if not 0 <= slice_pos < num_of_slices:
            raise UserError(f'slice_pos must be 0 to {num_of_slices - 1}, not {slice_pos}')
        if self._order.ranks > 1:
            raise UserError('a slice cannot be sliced; slice the whole loader')
        self._stop()
        recipe, base = self._recipe, self._order
        other = Loader(
            recipe.dataset,
            recipe.transform,
            base.batch_size,
            recipe.mean,
            recipe.std,
            recipe.channel_order,
            seed=recipe.seed,
            shuffle=base.shuffle,
            workers=self._workers,
            prefetch=self._prefetch,
            skip_bad=recipe.skip_bad,
        )
        other._order = replace(other._order, rank=slice_pos, ranks=num_of_slices)
        other._state = self._state
        return other

    def close(self):
        """End the workers; arrays that were given out stay valid."""
        self._closed = True
        self._stop()

    def __iter__(self):
        return self

    __next__ = next

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    # Continuing

    def state_dict(self) -> dict:
        """Where this loader stands, and what that depends on, of plain values; the same on all
        ranks.
        """
        waiting = [list(group) for group in self._state.waiting]
        return self._settings() | asdict(self._state) | {'waiting': waiting}

    def load_state_dict(self, state: dict):
        """Continue where the loader stood that gave ``state``, with identical batches when the
        transform is the same; raises ``UserError`` for other data, seeds, batch sizes or slices.
        """
        for name, own in self._settings().items():
            if state.get(name) != own:
                raise UserError(
                    f'the state of the loader has {name} {state.get(name)}, now it is {own}; '
                    'continue with the same data and settings, or start anew'
                )
        landscapes, portraits = map(tuple, state['waiting'])
        self._go_to(SamplerState(state['batches'], state['cursor'], (landscapes, portraits)))

    def _settings(self) -> dict:
        """What decides which samples are in which batch."""
        own = self._order
        return {
            'samples': own.count,
            'batch_size': own.batch_size,
            'slices': own.ranks,
            'seed': own.seed,
            'shuffle': own.shuffle,
            'by_aspect': own.is_portrait is not None,
        }

    # Planning and collecting

    def _go_to(self, state: SamplerState):
        self._stop()
        self._state = state

    def _stop(self):
        """End the workers with the batches that they were at; the next batch starts new ones."""
        self._pending.clear()
        self._unsent.clear()
        self._awaited.clear()
        if self._pool is not None:
            self._end_pool()
            self._pool = None

    def _load(self) -> tuple[np.ndarray, np.ndarray]:
        batch, samples, state = self._following(self._state)
        buffer = np.empty(batch_bytes(len(samples), batch), np.uint8)
        images, labels = batch_arrays(buffer, len(samples), batch)
        for row, (epoch, index) in enumerate(samples):
            self._count(self._recipe.write(epoch, index, batch, images[row], labels[row]))
        self._state, self._latest = state, [index for _, index in samples]
        return images, labels

    def _plan(self):
        """Give the workers what is to be loaded ahead, as far as they take it."""
        if self._pool is None:
            self._pool = Pool(self._recipe, self._workers, self._most_bytes)
            self._end_pool = weakref.finalize(self, self._pool.close)
        while len(self._pending) < self._prefetch:
            state = self._pending[-1].state if self._pending else self._state
            batch, samples, state = self._following(state)
            offset, buffer = self._pool.memory.block()
            arrays = batch_arrays(buffer, len(samples), batch)
            indices = [index for _, index in samples]
            pending = _Pending(*arrays, indices, state, len(samples))
            self._pending.append(pending)
            for row, (epoch, index) in enumerate(samples):
                task = SampleTask(self._tickets, offset, len(samples), batch, row, epoch, index)
                self._awaited[self._tickets] = pending, row
                self._unsent.append(task)
                self._tickets += 1
        while self._unsent and self._pool.submit(self._unsent[0]):
            self._unsent.popleft()

    def _receive(self):
        for ticket, problems, error in self._pool.receive():
            pending, row = self._awaited.pop(ticket)
            pending.missing -= 1
            pending.problems[row] = problems
            if error is not None:
                pending.errors[row] = error
        self._plan()

    def _following(self, state: SamplerState) -> tuple[Batch, list[tuple[int, int]], SamplerState]:
        number, samples, state = self._order.following(state)
        transform = self._recipe.transform
        rng = sampler.generator(self._recipe.seed, sampler.BATCH, number)
        sizes = [self._sizes.of(index) for _, index in samples] if transform.by_aspect else []
        return transform.batch(sizes, rng), samples, state

    def _count(self, problems: list[str]):
        for problem in problems:
            if problem not in self.skipped:
                LOG.warning('%s; another sample takes its place', problem)
            self.skipped[problem] += 1
