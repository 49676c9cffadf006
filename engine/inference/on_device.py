"""From the bytes of an image to those of its class map in one graph, for GPUs: what is copied to
the device and back is a byte a colour and a byte a pixel.

Normalisation, padding, the network, upsampling and the largest logit of every pixel are functions
of the graph; those that this adds to the network's all run on Hopper GPUs
(:mod:`engine.device.known_bugs`). They compute in float32 also where the network is in half
precision. On one device the numbers are the predictor's to the last bit, and of two classes with
the same logit the first is taken, too.
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
from models import Network, NetworkInfo

MOST = 4 << 30  # bytes of the logits at the image's size; larger ones are resized on the host
# Pixels of an image. The maximum over classes works on Hopper GPUs where pixels follow the classes
# in memory, and was tried with thousands of them.
LEAST = 64 * 64


class OnDevice:
    """Class maps of whole images at their own size, from a network in NNabla's current context.

    padded: a length -> the next one that the network takes. on_new_size: called before a graph is
    built, and when all are dropped. The graphs of the latest sizes are kept.
    """

    def __init__(
        self,
        network: Network,
        padded: Callable[[int], int],
        on_new_size: Callable[[], None] = lambda: None,
    ):
        self._network, self._padded, self._on_new_size = network, padded, on_new_size
        # The input and the output of each size's graph.
        self._graphs: LeastRecentlyUsed[Size, tuple[nn.Variable, nn.Variable]] = LeastRecentlyUsed(
            MIN_CACHED_SHAPES
        )
        self._too_large: set[Size] = set()

    def takes(self, size: Size) -> bool:
        """Whether this way is for an image of ``size = (height, width)``: it is neither tiny nor,
        as far as is known, larger than the memory allows.
        """
        height, width = map(self._padded, size)
        logits = 4 * self._network.info.num_classes * height * width
        return size[0] * size[1] >= LEAST and logits <= MOST and tuple(size) not in self._too_large

    def labels(self, image: np.ndarray) -> np.ndarray | None:
        """The class of every pixel, ``uint8`` (H, W), of a ``uint8`` BGR image (H, W, 3); None when
        the memory does not suffice, which is remembered.
        """
        size = size_of(image)
        try:
            with memory_errors_as(MemoryError):
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
        self._graphs.clear()
        self._on_new_size()

    def _graph(self, size: Size) -> tuple[nn.Variable, nn.Variable]:
        self._on_new_size()
        x = nn.Variable((1, *size, 3))
        return x, self._build(x)

    def _build(self, x: nn.Variable) -> nn.Variable:
        """Class indices (1, H, W) of an image (1, H, W, 3) of BGR values from 0 to 255."""
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
    """Images (N, H, W, 3) of BGR values from 0 to 255 as a network's input (N, 3, H, W)."""
    x = F.transpose(x, (0, 3, 1, 2))
    if info.channel_order == 'rgb':
        x = F.concatenate(*(x[:, i : i + 1] for i in (2, 1, 0)), axis=1)
    mean, std = (
        nn.Variable.from_numpy_array(np.array(values, np.float32).reshape(1, 3, 1, 1))
        for values in (info.mean, info.std)
    )
    return (x - mean) / std
