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
from models import Info, Network

GRAPHS = (
    4  # sizes whose graphs are kept: the portraits and landscapes of one camera, and as many again
)


def normalise(image: np.ndarray, info: Info) -> np.ndarray:
    """A ``uint8`` BGR image (H, W, 3) as the network's input: float32 (3, H, W), (x - mean) / std.

    The subtraction and the multiplication by 1 / std round like the published code's: mean and std
    are float32 first, the arithmetic is OpenCV's.
    """
    x = image.astype(np.float32)
    if info.channel_order == 'rgb':
        x = cv2.cvtColor(x, cv2.COLOR_BGR2RGB)
    mean, std = (np.float64(np.float32(values).reshape(1, -1)) for values in (info.mean, info.std))
    x = cv2.multiply(cv2.subtract(x, mean), 1 / std)
    return np.ascontiguousarray(x.transpose(2, 0, 1))


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

    def logits(self, image: np.ndarray, scale: float = 1.0) -> np.ndarray:
        """Logits (num_classes, H, W), float32, at the size of ``image``, a ``uint8`` BGR array (H,
        W, 3).

        scale: by what the image is resized for the network. Sizes that it cannot take are padded
            with its mean colour, below and on the right. Raises ``InputError`` when the memory does
            not suffice.
        """
        height, width = image.shape[:2]
        if scale != 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            image = cv2.resize(
                image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            )
        x = normalise(image, self.network.info)
        pad = [(0, 0), *((0, self._padded(n) - n) for n in x.shape[1:])]
        padded = np.pad(x, pad)
        # At least 2, because no layer makes one row of several: of an image that has one row, and
        # of its upscaled logits, the first of two is taken.
        out = [
            max(2, round(old * new / scaled))
            for old, new, scaled in zip((height, width), padded.shape[1:], x.shape[1:])
        ]
        try:
            inputs, outputs = self._graph(*padded.shape[1:], *out)
            inputs.d = padded[None]
            outputs.forward(clear_buffer=True)
            return outputs.d[0, :, :height, :width]
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, MemoryError) or 'alloc' in str(error).lower():
                raise InputError(
                    f'not enough memory for {padded.shape[2]}x{padded.shape[1]} pixels; '
                    f'--scale {scale / 2:g} needs a quarter of it'
                ) from error
            raise

    def labels(self, image: np.ndarray, scale: float = 1.0) -> np.ndarray:
        """The class index of every pixel, ``uint8`` (H, W); arguments as for :meth:`logits`."""
        return self.logits(image, scale).argmax(axis=0).astype(np.uint8)

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
