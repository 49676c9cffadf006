"""From an image to the class of every pixel: normalisation, padding, the graph, upsampling and
argmax in one place.
"""

from collections import OrderedDict
from collections.abc import Callable

import cv2
import nnabla as nn
import numpy as np

from command import InputError
from d3net import layers as L
from datasets import transforms
from engine.protocols import Protocol, Size
from models import Info, Network

WHOLE = Protocol()  # one view, at the image's size
GRAPHS = 4  # sizes whose graphs are kept: portraits and landscapes of a camera, and as many again


def normalise(image: np.ndarray, info: Info) -> np.ndarray:
    """A ``uint8`` BGR image (H, W, 3) as the network's input, float32 (3, H, W)."""
    return transforms.normalise(image, info.mean, info.std, info.channel_order)


class Predictor:
    """Class maps from one network in NNabla's current context.

    The graphs of the latest ``GRAPHS`` sizes are kept, all on the same parameters. ``on_new_size``
    is called before one is built: the place to release memory that fits the old sizes only.
    """

    def __init__(self, network: Network, on_new_size: Callable[[], None] = lambda: None):
        self.network = network
        self._on_new_size = on_new_size
        self._graphs = OrderedDict()
        smallest = self._padded(1)
        network(nn.Variable((1, 3, smallest, smallest)))  # registers the parameters

    def labels(self, image: np.ndarray, protocol: Protocol = WHOLE) -> np.ndarray:
        """The class index of every pixel, ``uint8`` (H, W), of a ``uint8`` BGR image (H, W, 3).

        Raises ``InputError`` when the memory does not suffice.
        """
        views = protocol.views(*image.shape[:2])
        if len(views) == 1 and not protocol.flip and not protocol.window:
            scores = self.logits(image, views[0])  # whose largest is that of the probabilities
        else:
            scores = self.probabilities(image, protocol)
        return scores.argmax(axis=0).astype(np.uint8)

    def logits(self, image: np.ndarray, view: Size | None = None) -> np.ndarray:
        """Logits (num_classes, H, W), float32, at the size of ``image``, seen at ``view``."""
        x = self._normalised(image, view or image.shape[:2])
        return self._run(x, image.shape[:2])

    def probabilities(self, image: np.ndarray, protocol: Protocol) -> np.ndarray:
        """Mean class probabilities of all views, (num_classes, H, W), float32."""
        size, views = image.shape[:2], protocol.views(*image.shape[:2])
        total = np.zeros((self.network.info.num_classes, *size), np.float32)
        for view in views:
            x = self._normalised(image, view)
            for mirrored in (False, True)[: 1 + protocol.flip]:
                seen = x[..., ::-1] if mirrored else x
                if protocol.window:
                    scores = _resize(self._slide(seen, protocol), size)
                else:
                    scores = _softmax(self._run(seen, size))
                total += scores[..., ::-1] if mirrored else scores
        return total / np.float32(len(views) * (1 + protocol.flip))

    def _normalised(self, image, size):
        """The image at a size, as the network takes it: float32 (3, height, width)."""
        if image.shape[:2] != tuple(size):
            smaller = size[0] * size[1] < image.shape[0] * image.shape[1]
            method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
            image = cv2.resize(image, size[::-1], interpolation=method)
        return normalise(image, self.network.info)

    def _slide(self, x, protocol):
        """Probabilities of a view (3, h, w), window by window: (num_classes, h, w)."""
        window, size = protocol.window, x.shape[1:]
        total = np.zeros((self.network.info.num_classes, *size), np.float32)
        weights = np.zeros(size, np.float32)
        # 1 at the window's border, rising by 1 a pixel: windows of one size fade into each other.
        ramps = [np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1)) for n in window]
        weight = np.outer(*ramps).astype(np.float32)
        for rows, columns in protocol.windows(*size):
            part = x[:, rows, columns]
            missing = [(0, full - have) for full, have in zip(window, part.shape[1:])]
            scores = _softmax(self._run(np.pad(part, [(0, 0), *missing]), window))
            inside = np.s_[: part.shape[1], : part.shape[2]]
            total[:, rows, columns] += (scores * weight)[:, inside[0], inside[1]]
            weights[rows, columns] += weight[inside]
        return total / weights

    def _run(self, x, size):
        """Logits of (3, h, w) resized to ``size``; what the network cannot take is padded.

        The padding, with the mean colour, is below and on the right, and is cut off again.
        """
        pad = [(0, 0), *((0, self._padded(side) - side) for side in x.shape[1:])]
        padded = np.pad(x, pad)
        # At least 2 rows and columns, because no layer makes one of several: of an image with a
        # single row that is shown at many, the first of two is taken.
        out = [
            max(2, round(side * full / seen))
            for side, full, seen in zip(size, padded.shape[1:], x.shape[1:])
        ]
        try:
            inputs, outputs = self._graph(*padded.shape[1:], *out)
            inputs.d = padded[None]
            outputs.forward(clear_buffer=True)
            return outputs.d[0, :, : size[0], : size[1]]
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, MemoryError) or 'alloc' in str(error).lower():
                raise InputError(
                    f'not enough memory for {padded.shape[2]}x{padded.shape[1]} pixels; '
                    '--scales 0.5 needs a quarter of it, and so does a smaller window of --slide'
                ) from error
            raise

    def _padded(self, length: int) -> int:
        info = self.network.info
        return max(-(-length // info.size_divisor) * info.size_divisor, info.smallest_size)

    def _graph(self, height, width, out_height, out_width):
        key = height, width, out_height, out_width
        if key not in self._graphs:
            while len(self._graphs) >= GRAPHS:
                self._graphs.popitem(last=False)
            self._on_new_size()
            x = nn.Variable((1, 3, height, width))
            self._graphs[key] = x, L.resize(self.network(x)[0], (out_height, out_width))
        self._graphs.move_to_end(key)
        return self._graphs[key]


def _softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the first axis; in place of a new array, which is the largest there is."""
    scores = logits - logits.max(axis=0)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=0)
    return scores


def _resize(scores: np.ndarray, size: Size) -> np.ndarray:
    """Maps (C, h, w) at another size, bilinearly."""
    if scores.shape[1:] == tuple(size):
        return scores
    return np.stack([cv2.resize(m, size[::-1], interpolation=cv2.INTER_LINEAR) for m in scores])
