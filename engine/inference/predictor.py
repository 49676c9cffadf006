"""From an image to the class of every pixel: normalisation, padding, the backend, upsampling and
argmax in one place.

The network's own maps, of low resolution, are all that is kept of an image. They are resized to the
image's size in bands of rows, so that memory does not grow with the image times its classes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce

import cv2
import nnabla as nn
import numpy as np

from common.errors import InputError
from common.memory import memory_errors_as
from datasets.loading import transforms
from engine.backends.base import Backend
from engine.backends.nnabla import NnablaBackend
from engine.inference.on_device import OnDevice
from engine.inference.test_time import Protocol, Size, size_of
from models import Network, NetworkInfo

WHOLE = Protocol()  # one view, at the image's size
BAND = 1 << 20  # values a class map is resized in at a time, over all classes: 4 MiB
SMALL = 256 * 256  # pixels, for which a network needs little more memory than for none


def normalise(image: np.ndarray, info: NetworkInfo) -> np.ndarray:
    """A ``uint8`` BGR image (H, W, 3) as the network's input, float32 (3, H, W)."""
    return transforms.normalise(image, info.mean, info.std, info.channel_order)


@dataclass(frozen=True)
class _Seen:
    """What the network made of one view: maps (num_classes, h, w). Resized to ``grid`` they show
    the image in their upper left corner; what is below and on the right is padding.
    """

    maps: np.ndarray
    grid: Size
    mirrored: bool = False
    probable: bool = False  # probabilities instead of logits

    def rows(self, rows: slice, width: int) -> np.ndarray:
        """Rows of the image, (num_classes, rows, width), float32."""
        scores = resize_rows(self.maps, self.grid, rows, width)
        return scores[..., ::-1] if self.mirrored else scores


class Predictor:
    """Class maps from one network, whose parameters it registers.

    The network's maps are computed by ``backend``, at first NNabla's graphs in the current context;
    ``on_new_size`` is called before one is built. On a GPU, ``whole`` computes class maps of whole
    images from beginning to end, see :meth:`stay_on_device`.
    """

    def __init__(self, network: Network, on_new_size: Callable[[], None] = lambda: None):
        self.network = network
        self.backend: Backend = NnablaBackend(network, on_new_size)
        self.whole: OnDevice | None = None
        self._on_new_size = on_new_size
        smallest = self._padded(1)
        network(nn.Variable((1, 3, smallest, smallest)))  # registers the parameters

    def stay_on_device(self) -> None:
        """Whole images at their own size go through one graph, with nothing but bytes copied."""
        self.whole = OnDevice(self.network, self._padded, self._on_new_size)

    def labels(self, image: np.ndarray, protocol: Protocol = WHOLE) -> np.ndarray:
        """The class index of every pixel, ``uint8`` (H, W), of a ``uint8`` BGR image (H, W, 3).

        Raises ``InputError`` when the memory does not suffice.
        """
        size = size_of(image)
        if self.whole and protocol == WHOLE and self.whole.takes(size):
            labels = self.whole.labels(image)
            if labels is not None:
                return labels
        lacking = (
            f'not enough memory for an image of {size[1]}x{size[0]} pixels; make it smaller with '
            'another program, or leave more memory to this one'
        )
        with memory_errors_as(InputError, lacking):
            if protocol.window:
                means = self.probabilities(image, protocol)
                seen = [_Seen(means, size, probable=True)]
            else:
                seen = list(self._views(image, protocol))
            labels = np.empty(size, np.uint8)
            for rows in self._bands(size):
                if len(seen) == 1:  # the largest logit is that of the largest probability
                    scores = seen[0].rows(rows, size[1])
                else:
                    views = (_probabilities(each, rows, size[1]) for each in seen)
                    scores = reduce(np.add, views) / np.float32(len(seen))
                labels[rows] = scores.argmax(axis=0)
            return labels

    def logits(self, image: np.ndarray, view: Size | None = None) -> np.ndarray:
        """Logits (num_classes, H, W), float32, at the size of ``image``, seen at ``view``."""
        size = size_of(image)
        seen = self._run(self._normalised(image, view or size), size)
        return seen.rows(slice(0, size[0]), size[1])

    def probabilities(self, image: np.ndarray, protocol: Protocol) -> np.ndarray:
        """Mean class probabilities of all views, (num_classes, H, W), float32."""
        size, count = size_of(image), 0
        total = np.zeros((self.network.info.num_classes, *size), np.float32)
        for seen in self._views(image, protocol):
            count += 1
            for rows in self._bands(size):
                total[:, rows] += _probabilities(seen, rows, size[1])
        total /= np.float32(count)
        return total

    def _views(self, image: np.ndarray, protocol: Protocol) -> Iterator[_Seen]:
        """Every view of an image, and its mirror image where the protocol wants it.

        Raises ``InputError`` when one does not fit in the memory.
        """
        size = size_of(image)
        views = protocol.views(*size)
        self.backend.reserve(len({self._shape(view, protocol.window) for view in views}))
        for view in views:
            with memory_errors_as(InputError, _too_little_memory(view, protocol.window)):
                x = self._normalised(image, view)
                for mirrored in (False, True)[: 1 + protocol.flip]:
                    shown = x[..., ::-1] if mirrored else x
                    if protocol.window:
                        means = self._slide(shown, protocol)
                        yield _Seen(means, size, mirrored, probable=True)
                    else:
                        yield self._run(shown, size, mirrored)

    def _shape(self, view: Size, window: Size | None) -> Size:
        """The size at which the network sees a view, or the windows of it."""
        height, width = (self._padded(min(sides)) for sides in zip(view, window or view))
        return height, width

    def _bands(self, size: Size) -> Iterator[slice]:
        """Rows of an image of ``size``, a few at a time."""
        height, width = size
        step = max(1, BAND // (self.network.info.num_classes * width))
        for top in range(0, height, step):
            yield slice(top, min(top + step, height))

    def _normalised(self, image: np.ndarray, size: Size) -> np.ndarray:
        """The image at a size, as the network takes it: float32 (3, height, width)."""
        if size_of(image) != tuple(size):
            smaller = size[0] * size[1] < image.shape[0] * image.shape[1]
            method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
            image = cv2.resize(image, size[::-1], interpolation=method)
        return normalise(image, self.network.info)

    def _slide(self, x: np.ndarray, protocol: Protocol) -> np.ndarray:
        """Probabilities of a view (3, h, w), window by window: (num_classes, h, w)."""
        size = size_of(x[0])
        height, width = window = protocol.window_of(*size)
        total = np.zeros((self.network.info.num_classes, *size), np.float32)
        weights = np.zeros(size, np.float32)
        # 1 at the window's border, rising by 1 a pixel: windows of one size fade into each other.
        ramps = [np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1)) for n in window]
        weight = np.outer(*ramps).astype(np.float32)
        for rows, columns in protocol.windows(*size):
            seen = self._run(x[:, rows, columns], window)
            total[:, rows, columns] += softmax(seen.rows(slice(0, height), width)) * weight
            weights[rows, columns] += weight
        return total / weights

    def _run(self, x: np.ndarray, size: Size, mirrored: bool = False) -> _Seen:
        """What the network makes of a view (3, h, w) of an image of ``size``.

        What the network cannot take is padded with the mean colour, below and on the right.
        """
        padded = np.pad(x, [(0, 0), *((0, self._padded(side) - side) for side in x.shape[1:])])
        height, width = (
            round(side * full / seen)
            for side, full, seen in zip(size, padded.shape[1:], x.shape[1:])
        )
        try:
            return _Seen(self.backend.run(padded[None])[0], (height, width), mirrored)
        except MemoryError:
            self.backend.close()  # what it holds may be what the next image lacks
            raise

    def _padded(self, length: int) -> int:
        info = self.network.info
        return max(-(-length // info.size_divisor) * info.size_divisor, info.smallest_size)


def resize_rows(maps: np.ndarray, size: Size, rows: slice, width: int) -> np.ndarray:
    """The first ``width`` columns of ``rows`` of ``maps`` (C, h, w) resized to ``size``.

    Equal to the last bit to these rows of the whole maps after ``layers.functions.resize`` on the
    CPU: bilinear, pixel centres at half integers, columns before rows, in float32.
    """
    if maps.shape[1:] == tuple(size):
        return maps[:, rows, :width]
    above, below, down = _taps(maps.shape[1], size[0], rows)
    left, right, across = _taps(maps.shape[2], size[1], slice(0, width))
    first = above[0]
    part = maps[:, first : below[-1] + 1]
    part = part[..., left] * (1 - across) + part[..., right] * across
    down = down[:, None]
    scores = part[:, above - first] * (1 - down)
    lower = part[:, below - first]
    lower *= down
    scores += lower
    return scores


def _taps(length: int, new_length: int, where: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two samples that each of the new samples ``where`` lies between, and the share of the
    second.
    """
    scale = np.float32(length / new_length)
    at = (np.arange(where.start, where.stop, dtype=np.float32) + np.float32(0.5)) * scale
    at = np.maximum(at - np.float32(0.5), 0)
    before = np.minimum(at.astype(np.intp), length - 1)
    return before, np.minimum(before + 1, length - 1), at - before.astype(np.float32)


def _probabilities(seen: _Seen, rows: slice, width: int) -> np.ndarray:
    scores = seen.rows(rows, width)
    return scores if seen.probable else softmax(scores)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities over the first axis, the classes, of the dtype of ``logits``."""
    scores = logits - logits.max(axis=0)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=0)
    return scores


def _too_little_memory(view: Size, window: Size | None) -> str:
    """One line on what did not fit, with a remedy that helps."""
    height, width = view
    if height * width <= SMALL:
        remedy = 'leave more memory to this program, or take a smaller network'
    elif window:
        remedy = 'smaller windows (--slide) and smaller views (--scales) need less'
    else:
        remedy = 'half of --scales needs a quarter of it, and windows (--slide) need less too'
    return f'not enough memory for a view of {width}x{height} pixels; {remedy}'
