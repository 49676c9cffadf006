"""Turn samples into network input: read, resample, change colours, normalise, pad."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from common.errors import BadSampleError, InputError, UserError
from common.memory import memory_errors_as
from datasets.dataset import Dataset
from datasets.decoding import NOT_ENOUGH_MEMORY
from datasets.info import IGNORE
from datasets.label_values import to_network
from datasets.loading import sampler
from datasets.loading.batch_arrays import BatchArrays, BatchLayout
from datasets.loading.resample import View, resample_flow, resample_image, resample_label
from datasets.loading.transforms import Batch, Transform, distort, normalise
from datasets.scenes import Scene

MAX_REPLACEMENTS = 100  # number of samples tried in place of one bad sample


@dataclass(frozen=True)
class SampleWriter:
    """The settings and steps that turn a sample into network input; workers receive it pickled.

    Attributes:
        dataset: The split to load.
        transform: The augmentation.
        mean: Input mean of the network, in ``channel_order``.
        std: Input standard deviation of the network, in ``channel_order``.
        channel_order: ``rgb`` or ``bgr``.
        seed: Seed of all random numbers.
        skip_bad: Replace an unreadable sample by another instead of raising ``InputError``.
    """

    dataset: Dataset
    transform: Transform
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channel_order: str
    seed: int
    skip_bad: bool

    @cached_property
    def layout(self) -> BatchLayout:
        """The arrays that a batch consists of."""
        return BatchLayout(len(self.dataset.flow), self.dataset.tasks)

    def write(self, epoch: int, index: int, batch: Batch, arrays: BatchArrays) -> list[str]:
        """Write a sample into the arrays of its batch.

        The random numbers depend on the seed, the sample and the epoch, not on the process.

        Args:
            epoch: Epoch of the sample, from 0.
            index: Index of the sample in the data set.
            batch: Properties that all samples of the batch share.
            arrays: The arrays to write into, of one sample.

        Returns:
            One line for each bad sample that was replaced.

        Raises:
            BadSampleError: A file cannot be used.
            RuntimeError: Any other failure; the message names the file.
        """
        problems: list[str] = []
        for candidate in self._candidates(epoch, index):
            try:
                with memory_errors_as(InputError, self._lack_of_memory(candidate)):
                    self._write(candidate, epoch, index, batch, arrays)
                return problems
            except InputError as error:
                if not self.skip_bad:
                    raise BadSampleError(str(error)) from error
                problems.append(str(error))
            except UserError:
                raise
            except Exception as error:
                path = self.dataset[candidate].image
                raise RuntimeError(f'{path}: {type(error).__name__}: {error}') from error
        raise InputError(f'{len(problems)} bad samples in a row, the last: {problems[-1]}')

    def _lack_of_memory(self, candidate: int) -> str:
        return f'{self.dataset[candidate].image}: {NOT_ENOUGH_MEMORY}'

    def _candidates(self, epoch: int, index: int) -> Iterator[int]:
        yield index
        others = sampler.generator(self.seed, sampler.REPLACEMENT, epoch, index)
        for candidate in others.permutation(len(self.dataset))[:MAX_REPLACEMENTS]:
            if candidate != index:
                yield int(candidate)

    def _write(
        self, candidate: int, epoch: int, index: int, batch: Batch, arrays: BatchArrays
    ) -> None:
        scene = self.dataset.scene(candidate)
        rng = sampler.generator(self.seed, sampler.SAMPLE, epoch, index)
        view = self.transform.view(self._map_to_view(scene), rng, batch)
        if (view.height, view.width) != arrays.images.shape[1:]:
            self._pad(arrays)
        self._write_pictures(scene, view, rng, arrays.images)
        targets = arrays.by_task(self.dataset.info.task)
        for task, out in targets.items():
            out[0, : view.height, : view.width] = self._target(candidate, task, scene, view)

    def _map_to_view(self, scene: Scene) -> np.ndarray:
        """Return the class map by which the transform chooses the view."""
        label = scene.targets.get(self.dataset.info.task)
        if label is None or label.dtype != np.uint8:
            return np.full(scene.size, IGNORE, np.uint8)
        return label

    def _pad(self, arrays: BatchArrays) -> None:
        """Fill the arrays with what stands outside of the view."""
        arrays.images.fill(0)  # the value of the mean after normalisation
        pad = self.transform.pad_label
        for out in arrays.by_task(self.dataset.info.task).values():
            out.fill(0 if out.dtype == np.float32 else -1 if pad == IGNORE else pad)

    def _write_pictures(
        self, scene: Scene, view: View, rng: np.random.RandomState, images: np.ndarray
    ) -> None:
        """Write the view of each picture; the colours of all camera pictures change alike."""
        draws = rng.get_state()
        for number, (picture, is_flow) in enumerate(zip(scene.pictures, self.dataset.flow)):
            if is_flow:
                pixels = resample_flow(picture, view)
            else:
                pixels = resample_image(picture, view)
                if self.transform.distort:
                    rng.set_state(draws)
                    pixels = distort(pixels, rng)
            out = images[3 * number : 3 * number + 3, : view.height, : view.width]
            normalise(pixels, self.mean, self.std, self.channel_order, out=out)

    def _target(self, candidate: int, task: str, scene: Scene, view: View) -> np.ndarray:
        """Return the view of a target: int32 with -1 for ignored pixels, or float32 metres."""
        values = scene.targets[task]
        if values.dtype == np.float32:
            return resample_label(values, view, outside=0)
        info, sample = self.dataset.info.of_task(task), self.dataset[candidate]
        path = sample.target(task) or sample.label
        return to_network(resample_label(values, view), len(info.classes), path)
