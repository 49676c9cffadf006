"""Compute the class map of a whole image in one graph on the GPU.

Only bytes cross the bus: one per colour value to the device, one per pixel back. Normalisation,
padding, the network, upsampling and the argmax over classes are functions of the graph. The
functions before and after the network run on Hopper GPUs (:mod:`engine.device.known_bugs`) and
compute in float32 even if the network computes in half precision. On one device the results equal
those of :class:`engine.inference.predictor.Predictor` to the last bit. Both resolve ties between
classes in favour of the first class.

The predictor resizes all other views on the host: NNabla's interpolation knows ratios of whole
sizes only, and a view that is padded and resized has none.
"""

from collections.abc import Callable

import nnabla as nn
import nnabla.functions as F
import numpy as np

from common.log import LOG
from common.lru import LeastRecentlyUsed
from common.memory import memory_errors_as
from engine.backends.base import MIN_CACHED_SHAPES
from engine.inference.test_time import Size, size_of
from layers import functions as L
from layers.build import float_context
from layers.workspace import Workspace
from models import Network, NetworkInfo

MAX_LOGITS_BYTES = 4 << 30  # logits at the image's size; the host resizes larger ones
# The maximum over classes works on Hopper GPUs if pixels follow the classes in memory. It was
# tested with thousands of pixels only, so the host handles smaller images.
MIN_PIXELS = 64 * 64


class OnDevicePredictor:
    """A predictor of whole images at their own size, in the current workspace.

    It caches the graphs of the most recent image sizes.

    Args:
        network: Network whose parameters are registered.
        padded: Function from a length in pixels to the next length that the network accepts.
        on_new_size: Callback before a graph is built, and after all graphs are dropped.
    """

    def __init__(
        self,
        network: Network,
        padded: Callable[[int], int],
        on_new_size: Callable[[], None] = lambda: None,
    ):
        self._network, self._padded, self._on_new_size = network, padded, on_new_size
        self._workspace = Workspace()
        # The input and the output of each size's graph.
        self._graphs: LeastRecentlyUsed[Size, tuple[nn.Variable, nn.Variable]] = LeastRecentlyUsed(
            MIN_CACHED_SHAPES
        )
        self._too_large: set[Size] = set()

    def takes(self, size: Size) -> bool:
        """Return whether one graph can handle an image of ``size = (height, width)``.

        The method refuses tiny images, images whose logits exceed ``MAX_LOGITS_BYTES``, and sizes
        for which the memory did not suffice before.
        """
        height, width = map(self._padded, size)
        logits = 4 * self._network.info.num_classes * height * width
        return (
            size[0] * size[1] >= MIN_PIXELS
            and logits <= MAX_LOGITS_BYTES
            and tuple(size) not in self._too_large
        )

    def labels(self, image: np.ndarray) -> np.ndarray | None:
        """Return the class of every pixel, or None if the memory does not suffice.

        Sizes that failed are remembered and refused by :meth:`takes`.

        Args:
            image: (H, W, 3) uint8, BGR.

        Returns:
            (H, W) uint8 class indices, or None.
        """
        size = size_of(image)
        try:
            with self._workspace.entered(), memory_errors_as(MemoryError):
                x, y = self._graphs.get_or_make(size, lambda: self._graph(size))
                x.d = image[None]
                y.forward(clear_buffer=True)
                y.data.cast(np.uint8, nn.get_current_context())  # on the device
                return np.array(y.data.data[0])
        except MemoryError as error:
            LOG.debug('%dx%d pixels are resized on the host: %s', *size[::-1], error)
            self._too_large.add(size)
            self.close()
            return None

    def close(self) -> None:
        """Drop all graphs."""
        with self._workspace.entered():
            self._graphs.clear()
            self._on_new_size()

    def _graph(self, size: Size) -> tuple[nn.Variable, nn.Variable]:
        self._on_new_size()
        x = nn.Variable((1, *size, 3))
        labels = self._build(x)
        self._workspace.check_graph(labels)
        return x, labels

    def _build(self, x: nn.Variable) -> nn.Variable:
        """Return class indices (1, H, W) of an image (1, H, W, 3) of BGR values from 0 to 255."""
        info, size = self._network.info, x.shape[1:3]
        grid = self._padded(size[0]), self._padded(size[1])
        with nn.context_scope(float_context()):
            x = normalised(x, info)
            if grid != size:
                x = F.pad(x, (0, grid[0] - size[0], 0, grid[1] - size[1]))
        logits = self._network(x)[0]
        with nn.context_scope(float_context()):
            logits = L.resize(logits, grid)
            if grid != size:
                logits = logits[:, :, : size[0], : size[1]]
            return F.max(logits, axis=1, only_index=True)


def normalised(x: nn.Variable, info: NetworkInfo) -> nn.Variable:
    """Convert images (N, H, W, 3) of BGR values from 0 to 255 to an input (N, 3, H, W)."""
    x = F.transpose(x, (0, 3, 1, 2))
    if info.channel_order == 'rgb':
        x = F.concatenate(*(x[:, i : i + 1] for i in (2, 1, 0)), axis=1)
    mean, std = (
        nn.Variable.from_numpy_array(np.array(values, np.float32).reshape(1, 3, 1, 1))
        for values in (info.mean, info.std)
    )
    return (x - mean) / std
