"""Load batches for training, with the interface of NNabla's DataIterator.

    with Loader(dataset, transform, 8, info.mean, info.std, workers=4).slice(
        num_of_slices=comm.size, slice_pos=comm.rank
    ) as loader:
        images, labels = loader.next()      # float32 (8, 3, H, W), int32 (8, 1, H, W), -1 ignored

With k pictures of a scene the images have 3k channels. With tasks, a dictionary takes the place of
the labels: ``{'depth': float32 (8, 1, H, W), 'segmentation': int32 (8, 1, H, W)}``.

The content of a batch depends on the seed and on the batch's position in training, not on the
number of workers.
"""

import weakref
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from common.errors import UserError
from common.log import LOG
from common.tasks import CLASSES
from datasets.dataset import Dataset, Sample
from datasets.info import IGNORE
from datasets.loading import sampler
from datasets.loading.batch_arrays import BatchArrays, Targets
from datasets.loading.sample_workers import SampleTask, WorkerPool
from datasets.loading.sample_writer import SampleWriter
from datasets.loading.sampler import ImageSizes, Sampler, SamplerState
from datasets.loading.transforms import Batch, Transform


@dataclass
class _PendingBatch:
    """A batch that the workers are filling; the keys of ``problems`` and ``errors`` are rows."""

    arrays: BatchArrays
    indices: list[int]
    state: SamplerState
    missing: int
    problems: dict[int, list[str]] = field(default_factory=dict)
    errors: dict[int, Exception] = field(default_factory=dict)


class Loader:
    """An endless iterator over the batches of a data set.

    The caller owns the arrays of a batch. The loader needs memory for the prefetched batches and
    for those whose arrays the caller keeps.

    Args:
        dataset: The split to load.
        transform: A transform of :mod:`datasets.loading.augmentations`.
        batch_size: Samples in a batch.
        mean: Input mean of the network, in ``channel_order``.
        std: Input standard deviation of the network, in ``channel_order``.
        channel_order: ``rgb`` or ``bgr``.
        seed: Seed of all random numbers, at least 0; equal on all ranks.
        shuffle: Permute the samples in every epoch.
        workers: Number of worker processes; with 0, :meth:`next` loads in the calling process.
        prefetch: Number of batches to load ahead; by default the next one, and as many more as hold
            two samples for each worker.
        skip_bad: Log an unreadable sample, count it in ``skipped`` and load another in its place,
            instead of raising ``BadSampleError``.

    Raises:
        UserError: The data set is empty, or an argument is out of range.
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
        counts = [task.channels for task in dataset.tasks if task.kind == CLASSES]
        classes = min(counts, default=1) if dataset.tasks else len(dataset.info.classes)
        if transform.pad_label != IGNORE and transform.pad_label >= classes:
            raise UserError(
                f'pad_label: must be a class, 0 to {classes - 1}, or {IGNORE} for ignored, not '
                f'{transform.pad_label}'
            )
        self._writer = SampleWriter(
            dataset, transform, tuple(mean), tuple(std), channel_order, seed, skip_bad
        )
        self._max_batch_bytes = self._writer.layout.bytes(batch_size, transform.largest())
        self._workers, self._prefetch = workers, prefetch or 1 + -(-2 * workers // batch_size)
        self._sizes = ImageSizes(dataset, skip_bad)
        self._sampler = Sampler(
            len(dataset),
            batch_size,
            seed,
            shuffle,
            is_portrait=self._sizes.is_portrait if transform.by_aspect else None,
        )
        self._state = SamplerState()
        self._latest: list[int] = []
        self._pool, self._close_pool, self._closed = None, None, False
        self._pending: deque[_PendingBatch] = deque()
        self._unsent: deque[SampleTask] = deque()
        self._awaited: dict[int, tuple[_PendingBatch, int]] = {}  # ticket -> batch, row
        self._next_ticket = 0
        self.skipped: Counter[str] = Counter()  # problem -> number of occurrences

    # The interface of nnabla.utils.data_iterator.DataIterator

    @property
    def size(self) -> int:
        """Number of samples in an epoch; for a slice, the slice's share, rounded up."""
        return -(-self._sampler.count // self._sampler.ranks)

    @property
    def batch_size(self) -> int:
        """Samples in a batch."""
        return self._sampler.batch_size

    @property
    def epoch(self) -> int:
        """Number of epochs that all slices together have completed."""
        return self._state.used // self._sampler.count

    @property
    def position(self) -> int:
        """Average number of samples that a slice has returned in the current epoch."""
        return self._state.used % self._sampler.count // self._sampler.ranks

    @property
    def samples(self) -> list[Sample]:
        """Samples of the latest batch."""
        return [self._writer.dataset[index] for index in self._latest]

    def next(self) -> tuple[np.ndarray, Targets]:
        """Return the next batch.

        Returns:
            Images, (N, 3k, H, W) float32, normalised, and labels, (N, 1, H, W) int32, with -1 for
            ignored pixels; with tasks a dictionary with such labels, or for a depth task metres,
            (N, 1, H, W) float32, with 0 for unknown pixels.

        Raises:
            BadSampleError: A file cannot be used. Further calls raise the same error.
            UserError: A worker process died.
        """
        if self._closed:
            raise ValueError('the loader is closed')
        if not self._workers:
            return self._load()
        self._schedule()
        head = self._pending[0]
        while head.missing:
            self._receive()
        if head.errors:
            raise head.errors[min(head.errors)]
        self._pending.popleft()
        self._state, self._latest = head.state, head.indices
        for _, problems in sorted(head.problems.items()):
            self._count(problems)
        self._schedule()
        return head.arrays.images, head.arrays.targets

    def reset(self):
        """Return to the first batch of the first epoch."""
        self._move_to(SamplerState())

    def slice(self, rng=None, num_of_slices: int = 1, slice_pos: int = 0) -> 'Loader':
        """Return the loader of one rank, which replaces this loader at its current position.

        The workers of this loader exit.

        Args:
            rng: Unused, because the seed is equal on all ranks; part of NNabla's interface.
            num_of_slices: Number of ranks.
            slice_pos: This rank, from 0.

        Raises:
            UserError: The rank is out of range, or this loader is a slice itself.
        """
        if not 0 <= slice_pos < num_of_slices:
            raise UserError(f'slice_pos must be 0 to {num_of_slices - 1}, not {slice_pos}')
        if self._sampler.ranks > 1:
            raise UserError('a slice cannot be sliced; slice the whole loader')
        self._stop()
        writer, base = self._writer, self._sampler
        other = Loader(
            writer.dataset,
            writer.transform,
            base.batch_size,
            writer.mean,
            writer.std,
            writer.channel_order,
            seed=writer.seed,
            shuffle=base.shuffle,
            workers=self._workers,
            prefetch=self._prefetch,
            skip_bad=writer.skip_bad,
        )
        other._sampler = replace(other._sampler, rank=slice_pos, ranks=num_of_slices)
        other._state = self._state
        return other

    def close(self):
        """Stop the workers; arrays that the caller holds stay valid."""
        self._closed = True
        self._stop()

    def __iter__(self):
        return self

    __next__ = next

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    # Resuming

    def state_dict(self) -> dict:
        """Return the position, and the settings on which it depends, as plain values.

        The dictionary is equal on all ranks.
        """
        waiting = [list(group) for group in self._state.waiting]
        return self._settings() | asdict(self._state) | {'waiting': waiting}

    def load_state_dict(self, state: dict):
        """Continue at a saved position; batches are identical if the transform is the same.

        Args:
            state: The result of :meth:`state_dict`.

        Raises:
            UserError: The state belongs to other data, or to a loader with another seed, order of
                samples, batch size or number of slices; or it is no position.
        """
        for name, own in self._settings().items():
            if state.get(name) != own:
                raise UserError(
                    f'the state of the loader has {name} {state.get(name)}, now it is {own}; '
                    'resume with the same data and settings, or start a new run'
                )
        self._move_to(SamplerState.of(state))

    def _settings(self) -> dict:
        """Return the settings that determine which samples each batch has."""
        own = self._sampler
        return {
            'samples': own.count,
            'batch_size': own.batch_size,
            'slices': own.ranks,
            'seed': own.seed,
            'shuffle': own.shuffle,
            'by_aspect': own.is_portrait is not None,
        }

    # Scheduling and receiving

    def _move_to(self, state: SamplerState):
        self._stop()
        self._state = state

    def _stop(self):
        """Stop the workers and drop their batches; the next batch starts new workers."""
        self._pending.clear()
        self._unsent.clear()
        self._awaited.clear()
        if self._pool is not None:
            self._close_pool()
            self._pool = None

    def _load(self) -> tuple[np.ndarray, Targets]:
        batch, samples, state = self._next_batch(self._state)
        layout = self._writer.layout
        buffer = np.empty(layout.bytes(len(samples), batch), np.uint8)
        arrays = layout.arrays(buffer, len(samples), batch)
        for row, (epoch, index) in enumerate(samples):
            self._count(self._writer.write(epoch, index, batch, arrays.row(row)))
        self._state, self._latest = state, [index for _, index in samples]
        return arrays.images, arrays.targets

    def _schedule(self):
        """Queue the samples of the batches to prefetch until the task queue is full."""
        if self._pool is None:
            self._pool = WorkerPool(self._writer, self._workers, self._max_batch_bytes)
            self._close_pool = weakref.finalize(self, self._pool.close)
        while len(self._pending) < self._prefetch:
            state = self._pending[-1].state if self._pending else self._state
            batch, samples, state = self._next_batch(state)
            offset, buffer = self._pool.memory.block()
            arrays = self._writer.layout.arrays(buffer, len(samples), batch)
            indices = [index for _, index in samples]
            pending = _PendingBatch(arrays, indices, state, len(samples))
            self._pending.append(pending)
            for row, (epoch, index) in enumerate(samples):
                task = SampleTask(self._next_ticket, offset, len(samples), batch, row, epoch, index)
                self._awaited[self._next_ticket] = pending, row
                self._unsent.append(task)
                self._next_ticket += 1
        while self._unsent and self._pool.submit(self._unsent[0]):
            self._unsent.popleft()

    def _receive(self):
        for ticket, problems, error in self._pool.receive():
            pending, row = self._awaited.pop(ticket)
            pending.missing -= 1
            pending.problems[row] = problems
            if error is not None:
                pending.errors[row] = error
        self._schedule()

    def _next_batch(self, state: SamplerState) -> tuple[Batch, list[tuple[int, int]], SamplerState]:
        number, samples, state = self._sampler.next_batch(state)
        transform = self._writer.transform
        rng = sampler.generator(self._writer.seed, sampler.BATCH, number)
        sizes = [self._sizes.of(index) for _, index in samples] if transform.by_aspect else []
        return transform.batch(sizes, rng), samples, state

    def _count(self, problems: list[str]):
        for problem in problems:
            if problem not in self.skipped:
                LOG.warning('%s; another sample takes its place', problem)
            self.skipped[problem] += 1
