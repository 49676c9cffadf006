"""The arrays of a batch, in memory that the loader shares with its workers."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from common.tasks import DEPTH, PICTURE_CHANNELS, Task
from datasets.loading.transforms import Batch

_VALUE_BYTES = 4  # of float32 and int32
# Labels, (N, 1, H, W) int32, or for each task its targets: int32 class indices, -1 where ignored,
# or float32 metres, 0 where unknown.
Targets: TypeAlias = 'np.ndarray | dict[str, np.ndarray]'


@dataclass(frozen=True)
class BatchArrays:
    """The arrays of a batch, or of one sample of it, without the first axis.

    Attributes:
        images: (N, 3k, H, W) float32.
        targets: See :data:`Targets`.
    """

    images: np.ndarray
    targets: Targets

    def row(self, row: int) -> 'BatchArrays':
        """Return the arrays of one sample."""
        if isinstance(self.targets, dict):
            targets: Targets = {task: array[row] for task, array in self.targets.items()}
        else:
            targets = self.targets[row]
        return BatchArrays(self.images[row], targets)

    def by_task(self, task: str) -> dict[str, np.ndarray]:
        """Return the targets by task; labels are those of ``task``."""
        return self.targets if isinstance(self.targets, dict) else {task: self.targets}


@dataclass(frozen=True)
class BatchLayout:
    """Where the arrays of a batch are in its memory: the images first, then the targets.

    Attributes:
        inputs: Number of pictures of a sample, k.
        tasks: The tasks with a target; () for labels alone.
    """

    inputs: int
    tasks: tuple[Task, ...]

    def bytes(self, count: int, batch: Batch) -> int:
        """Return the number of bytes that ``count`` samples of a batch need."""
        return self._channels() * self._plane(count, batch)

    def arrays(self, buffer: np.ndarray, count: int, batch: Batch) -> BatchArrays:
        """Return the arrays in a buffer.

        Args:
            buffer: (bytes,) uint8, at least :meth:`bytes` long.
            count: Number of samples, N.
            batch: The batch, whose size gives H and W.
        """
        plane, shape = self._plane(count, batch), batch.size
        channels = PICTURE_CHANNELS * self.inputs
        images = buffer[: channels * plane].view(np.float32).reshape(count, channels, *shape)
        found = []
        for number in range(len(self.tasks) or 1):
            start = (channels + number) * plane
            depth = bool(self.tasks) and self.tasks[number].kind == DEPTH
            values = buffer[start : start + plane].view(np.float32 if depth else np.int32)
            found.append(values.reshape(count, 1, *shape))
        names = [task.name for task in self.tasks]
        return BatchArrays(images, dict(zip(names, found)) if names else found[0])

    def _channels(self) -> int:
        return PICTURE_CHANNELS * self.inputs + (len(self.tasks) or 1)

    @staticmethod
    def _plane(count: int, batch: Batch) -> int:
        """Return the number of bytes of one channel of all samples."""
        return _VALUE_BYTES * count * batch.size[0] * batch.size[1]
