"""Predict the class of every pixel: normalisation, padding, backend, upsampling and argmax."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from threading import Lock

import nnabla as nn
import numpy as np

from common.errors import InputError, UserError
from common.memory import memory_errors_as
from datasets.loading import transforms
from datasets.loading.resample import resize_image
from engine.backends.base import Backend
from engine.backends.nnabla import NnablaBackend
from engine.inference.on_device import OnDevicePredictor
from engine.inference.scores import ImageScores, ViewScores, enough_memory, mean_of, softmax
from engine.inference.test_time import Protocol, Size, size_of
from layers.workspace import Workspace
from models import Network, NetworkInfo

WHOLE_IMAGE = Protocol()  # one view, at the image's size
SMALL_VIEW_PIXELS = 256 * 256  # up to this size, the network needs most of a view's memory


def normalise(image: np.ndarray, info: NetworkInfo) -> np.ndarray:
    """Convert an image, (H, W, 3) uint8, BGR, to the network's input, (3, H, W) float32."""
    return transforms.normalise(image, info.mean, info.std, info.channel_order)


class ViewPredictor:
    """A predictor of class maps, whatever computes the scores of a view.

    Any number of threads may share a predictor. The backend computes one image at a time; the steps
    before and after it run in parallel.

    Attributes:
        info: Facts of the network.
        workspace: The network's parameters and context: the workspace at the creation.
        backend: Backend that computes the network's maps.
        gives_scores: Whether the scores are the network's, so that they have probabilities.
        without_scores: If not, the message that says why.

    Args:
        info: Facts of the network.
        backend: Backend that computes the network's maps.
    """

    gives_scores, without_scores = True, ''

    def __init__(self, info: NetworkInfo, backend: Backend):
        self.info, self.workspace = info, Workspace()
        self._lock = Lock()  # of the backend, whose models and graphs serve one thread at a time
        self.backend = backend

    def labels(self, image: np.ndarray, protocol: Protocol = WHOLE_IMAGE) -> np.ndarray:
        """Return the class index of every pixel.

        Args:
            image: (H, W, 3) uint8, BGR.
            protocol: Views of the image that the network sees.

        Returns:
            (H, W) uint8.

        Raises:
            InputError: The memory does not suffice.
        """
        return self.labels_and_scores(image, protocol)[0]

    def labels_and_scores(
        self, image: np.ndarray, protocol: Protocol = WHOLE_IMAGE
    ) -> tuple[np.ndarray, ImageScores | None]:
        """Return :meth:`labels`, and :meth:`scores` if they were computed on the way."""
        scores = self._scores(image, protocol)
        return scores.labels(), scores if self.gives_scores else None

    def scores(self, image: np.ndarray, protocol: Protocol = WHOLE_IMAGE) -> ImageScores:
        """Return the scores of the classes, at the network's own resolution.

        Args:
            image: (H, W, 3) uint8, BGR.
            protocol: Views of the image that the network sees.

        Raises:
            InputError: The memory does not suffice.
            UserError: There are labels only.
        """
        if not self.gives_scores:
            raise UserError(self.without_scores)
        return self._scores(image, protocol)

    def adapted(self, protocol: Protocol, size: Size) -> Protocol:
        """Return the protocol with which the network sees an image of ``size``: the same one."""
        return protocol

    def described(self, protocol: Protocol) -> Protocol:
        """Return the protocol for reports: the same one."""
        return protocol

    def _scores(self, image: np.ndarray, protocol: Protocol) -> ImageScores:
        size, num_classes = size_of(image), self.info.num_classes
        protocol = self.adapted(protocol, size)
        with enough_memory(size):
            views = self._views(image, protocol)
            seen = [mean_of(views, num_classes, size)] if protocol.window else list(views)
            return ImageScores(seen, num_classes, size)

    def logits(self, image: np.ndarray, view: Size | None = None) -> np.ndarray:
        """Return logits, (num_classes, H, W) float32, at the size of the image.

        Args:
            image: (H, W, 3) uint8, BGR.
            view: Height and width at which the network sees the image; by default the image's.
        """
        size = size_of(image)
        seen = self._run(self._normalised(image, view or size), size)
        return seen.rows(slice(0, size[0]))

    def probabilities(self, image: np.ndarray, protocol: Protocol) -> np.ndarray:
        """Return mean class probabilities over all views, (num_classes, H, W) float32.

        Args:
            image: (H, W, 3) uint8, BGR.
            protocol: Views of the image that the network sees.
        """
        return self.scores(image, protocol).probabilities()

    def _views(self, image: np.ndarray, protocol: Protocol) -> Iterator[ViewScores]:
        """Compute every view of an image, and the mirrored views if the protocol requires them.

        Raises:
            InputError: A view does not fit into the memory.
        """
        size = size_of(image)
        views = protocol.views(*size)
        with self._lock:
            self.backend.reserve(len({self._shape(view, protocol.window) for view in views}))
        for view in views:
            with memory_errors_as(InputError, _too_little_memory(view, protocol.window)):
                x = self._normalised(image, view)
                for mirrored in (False, True)[: 1 + protocol.flip]:
                    shown = x[..., ::-1] if mirrored else x
                    if protocol.window:
                        means = self._slide(shown, protocol)
                        yield ViewScores(means, size, mirrored=mirrored, probable=True)
                    else:
                        yield self._run(shown, size, mirrored)

    def _shape(self, view: Size, window: Size | None) -> Size:
        """Return the padded size of a view, or of its windows."""
        height, width = (self._padded(min(sides)) for sides in zip(view, window or view))
        return height, width

    def _normalised(self, image: np.ndarray, size: Size) -> np.ndarray:
        """Resize and normalise an image: (3, height, width) float32."""
        return normalise(resize_image(image, size), self.info)

    def _slide(self, x: np.ndarray, protocol: Protocol) -> np.ndarray:
        """Average the probabilities of a view (3, h, w) over its windows: (num_classes, h, w)."""
        size = size_of(x[0])
        window = protocol.window_of(*size)
        total = np.zeros((self.info.num_classes, *size), np.float32)
        weights = np.zeros(size, np.float32)
        # 1 at the window's border, rising by 1 per pixel: overlapping windows blend smoothly.
        ramps = [np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1)) for n in window]
        weight = np.outer(*ramps).astype(np.float32)
        for rows, columns in protocol.windows(*size):
            seen = self._run(x[:, rows, columns], window)
            total[:, rows, columns] += softmax(seen.rows(slice(0, window[0]))) * weight
            weights[rows, columns] += weight
        return total / weights

    def _run(self, x: np.ndarray, size: Size, mirrored: bool = False) -> ViewScores:
        """Compute a view (3, h, w) of an image of ``size``.

        A view is padded with the mean colour, below and on the right, to a size that the network
        accepts.
        """
        padded = np.pad(x, [(0, 0), *((0, self._padded(side) - side) for side in x.shape[1:])])
        height, width = map(Fraction, x.shape[1:], padded.shape[1:])
        with self._lock:
            try:
                maps = self.backend.run(padded[None])[0]
            except MemoryError:
                self.backend.close()  # frees memory that the next image may need
                raise
        return ViewScores(maps, size, (height, width), mirrored)

    def _padded(self, length: int) -> int:
        """Return the smallest length that the network accepts for ``length`` pixels."""
        info = self.info
        return -(-max(length, info.smallest_size) // info.size_divisor) * info.size_divisor


class Predictor(ViewPredictor):
    """A predictor of class maps with one network, whose parameters it registers.

    Attributes:
        network: The network.
        on_device: Computes class maps of whole images on the GPU; None before
            :meth:`stay_on_device`.

    Args:
        network: The network.
        on_new_size: Callback before NNabla builds a graph for a new size.
    """

    def __init__(self, network: Network, on_new_size: Callable[[], None] = lambda: None):
        super().__init__(network.info, NnablaBackend(network, on_new_size))
        self.network = network
        self.on_device: OnDevicePredictor | None = None
        self._on_new_size = on_new_size
        smallest = self._padded(1)
        network(nn.Variable((1, 3, smallest, smallest)))  # registers the parameters

    def stay_on_device(self) -> None:
        """Compute whole images at their own size in one graph, which transfers bytes only."""
        with self.workspace.entered():
            self.on_device = OnDevicePredictor(self.network, self._padded, self._on_new_size)

    def labels_and_scores(
        self, image: np.ndarray, protocol: Protocol = WHOLE_IMAGE
    ) -> tuple[np.ndarray, ImageScores | None]:
        """Return the labels, and the scores if they were computed on the way.

        A graph on the GPU returns class indices only.
        """
        size = size_of(image)
        if self.on_device and protocol.sees_whole(*size) and self.on_device.takes(size):
            with self._lock:
                labels = self.on_device.labels(image)
            if labels is not None:
                return labels, None
        return super().labels_and_scores(image, protocol)


def _too_little_memory(view: Size, window: Size | None) -> str:
    """Return a one-line message with a remedy for a view that does not fit into the memory."""
    height, width = view
    if height * width <= SMALL_VIEW_PIXELS:
        remedy = 'leave more memory to this program, or use a smaller network'
    elif window:
        remedy = 'smaller windows (--slide) and smaller views (--scales) need less'
    else:
        remedy = 'halving --scales needs a quarter of it, and windows (--slide) need less too'
    return f'not enough memory for a view of {width}x{height} pixels; {remedy}'
