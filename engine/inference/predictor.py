"""Predict all tasks of a network for every pixel: normalisation, padding, backend, upsampling."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from threading import Lock

import nnabla as nn
import numpy as np

from common.errors import InputError, UserError
from common.memory import memory_errors_as
from common.tasks import CLASSES, PICTURE_CHANNELS, channel_slices
from datasets.loading import transforms
from engine.backends.base import Backend
from engine.backends.nnabla import NnablaBackend
from engine.inference.on_device import OnDevicePredictor
from engine.inference.scene import Picture, Scene, scene_of
from engine.inference.scores import (
    ALL_CHANNELS,
    ImageScores,
    ViewScores,
    enough_memory,
    mean_of,
)
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
        self._channels = channel_slices(info.tasks)  # of each task in the network's maps
        alone = len(info.tasks) == 1
        self._logits = tuple(
            ALL_CHANNELS if alone else channels
            for task, channels in zip(info.tasks, self._channels)
            if task.kind == CLASSES
        )
        self._lock = Lock()  # of the backend, whose models and graphs serve one thread at a time
        self.backend = backend

    def labels(self, image: Picture, protocol: Protocol = WHOLE_IMAGE) -> np.ndarray:
        """Return the class index of every pixel.

        Args:
            image: (H, W, 3) uint8, BGR, or the pictures of a scene.
            protocol: Views of the image that the network sees.

        Returns:
            (H, W) uint8.

        Raises:
            InputError: The memory does not suffice.
        """
        return self.labels_and_scores(image, protocol)[0]

    def labels_and_scores(
        self, image: Picture, protocol: Protocol = WHOLE_IMAGE
    ) -> tuple[np.ndarray, ImageScores | None]:
        """Return :meth:`labels`, and :meth:`scores` if they were computed on the way."""
        scores = self.task_scores(image, protocol)[self._main_task]
        return scores.labels(), scores if self.gives_scores else None

    def scores(self, image: Picture, protocol: Protocol = WHOLE_IMAGE) -> ImageScores:
        """Return the scores of the classes, at the network's own resolution.

        They are those of the first task with classes.

        Args:
            image: (H, W, 3) uint8, BGR, or the pictures of a scene.
            protocol: Views of the image that the network sees.

        Raises:
            InputError: The memory does not suffice.
            UserError: There are labels only, or no task has classes.
        """
        if not self.gives_scores:
            raise UserError(self.without_scores)
        return self.task_scores(image, protocol)[self._main_task]

    def task_scores(
        self, image: Picture, protocol: Protocol = WHOLE_IMAGE
    ) -> dict[str, ImageScores]:
        """Return the scores of every task by its name, in the order of the network's outputs.

        Args:
            image: (H, W, 3) uint8, BGR, or the pictures of a scene.
            protocol: Views of the image that the network sees.

        Raises:
            InputError: The memory does not suffice, or the network takes another number of
                pictures.
        """
        scene = scene_of(image)
        scene.check(self.info)
        protocol = self.adapted(protocol, scene.size)
        count = self._channels[-1].stop
        with enough_memory(scene.size):
            views = self._views(scene, protocol)
            seen = [mean_of(views, count, scene.size)] if protocol.window else list(views)
        tasks = self.info.tasks
        if len(tasks) == 1:
            return {tasks[0].name: ImageScores(seen, tasks[0].channels, scene.size)}
        return {
            task.name: ImageScores([view.of_task(own) for view in seen], task.channels, scene.size)
            for task, own in zip(tasks, self._channels)
        }

    def task_maps(self, image: Picture, protocol: Protocol = WHOLE_IMAGE) -> dict[str, np.ndarray]:
        """Return the map of every task, in the order of the network's outputs.

        Args:
            image: (H, W, 3) uint8, BGR, or the pictures of a scene.
            protocol: Views of the image that the network sees.

        Returns:
            Class indices, (H, W) uint8, or depth in metres, (H, W) float32, by task.

        Raises:
            InputError: As :meth:`task_scores`.
        """
        scores = self.task_scores(image, protocol)
        return {
            task.name: scores[task.name].labels()
            if task.kind == CLASSES
            else scores[task.name].depth()
            for task in self.info.tasks
        }

    @property
    def _main_task(self) -> str:
        """Name of the first task with classes; raises ``UserError`` if there is none."""
        for task in self.info.tasks:
            if task.kind == CLASSES:
                return task.name
        names = ', '.join(task.name for task in self.info.tasks)
        raise UserError(f'the network has no task with classes, only {names}')

    def adapted(self, protocol: Protocol, size: Size) -> Protocol:
        """Return the protocol with which the network sees an image of ``size``: the same one."""
        return protocol

    def described(self, protocol: Protocol) -> Protocol:
        """Return the protocol for reports: the same one."""
        return protocol

    def logits(self, image: Picture, view: Size | None = None) -> np.ndarray:
        """Return the network's maps, (channels, H, W) float32, at the size of the image.

        Args:
            image: (H, W, 3) uint8, BGR, or the pictures of a scene.
            view: Height and width at which the network sees the image; by default the image's.
        """
        scene = scene_of(image)
        seen = self._run(scene.normalised(view or scene.size, self.info), scene.size)
        return seen.rows(slice(0, scene.size[0]))

    def probabilities(self, image: Picture, protocol: Protocol) -> np.ndarray:
        """Return mean class probabilities over all views, (num_classes, H, W) float32.

        Args:
            image: (H, W, 3) uint8, BGR, or the pictures of a scene.
            protocol: Views of the image that the network sees.
        """
        return self.scores(image, protocol).probabilities()

    def _views(self, scene: Scene, protocol: Protocol) -> Iterator[ViewScores]:
        """Compute every view of a scene, and the mirrored views if the protocol requires them.

        Raises:
            InputError: A view does not fit into the memory.
        """
        size = scene.size
        views = protocol.views(*size)
        with self._lock:
            self.backend.reserve(len({self._shape(view, protocol.window) for view in views}))
        for view in views:
            with memory_errors_as(InputError, _too_little_memory(view, protocol.window)):
                x = scene.normalised(view, self.info)
                for mirrored in (False, True)[: 1 + protocol.flip]:
                    shown = scene.mirrored(x, self.info) if mirrored else x
                    if protocol.window:
                        means = self._slide(shown, protocol)
                        yield ViewScores(means, size, mirrored=mirrored, logits=())
                    else:
                        yield self._run(shown, size, mirrored)

    def _shape(self, view: Size, window: Size | None) -> Size:
        """Return the padded size of a view, or of its windows."""
        height, width = (self._padded(min(sides)) for sides in zip(view, window or view))
        return height, width

    def _slide(self, x: np.ndarray, protocol: Protocol) -> np.ndarray:
        """Average the values of a view (3k, h, w) over its windows: (channels, h, w)."""
        size = size_of(x[0])
        window = protocol.window_of(*size)
        total = np.zeros((self._channels[-1].stop, *size), np.float32)
        weights = np.zeros(size, np.float32)
        # 1 at the window's border, rising by 1 per pixel: overlapping windows blend smoothly.
        ramps = [np.minimum(np.arange(1, n + 1), np.arange(n, 0, -1)) for n in window]
        weight = np.outer(*ramps).astype(np.float32)
        for rows, columns in protocol.windows(*size):
            seen = self._run(x[:, rows, columns], window)
            total[:, rows, columns] += seen.values(slice(0, window[0])) * weight
            weights[rows, columns] += weight
        return total / weights

    def _run(self, x: np.ndarray, size: Size, mirrored: bool = False) -> ViewScores:
        """Compute a view (3k, h, w) of an image of ``size``.

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
        return ViewScores(maps, size, (height, width), mirrored, self._logits)

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
        channels = PICTURE_CHANNELS * network.info.inputs
        network(nn.Variable((1, channels, smallest, smallest)))  # registers the parameters

    def stay_on_device(self) -> None:
        """Compute whole images at their own size in one graph, which transfers bytes only.

        Scenes of several pictures and networks with several tasks are computed by the backend.
        """
        info = self.network.info
        if info.inputs > 1 or len(info.tasks) > 1 or info.tasks[0].kind != CLASSES:
            return
        with self.workspace.entered():
            self.on_device = OnDevicePredictor(self.network, self._padded, self._on_new_size)

    def labels_and_scores(
        self, image: Picture, protocol: Protocol = WHOLE_IMAGE
    ) -> tuple[np.ndarray, ImageScores | None]:
        """Return the labels, and the scores if they were computed on the way.

        A graph on the GPU returns class indices only.
        """
        if isinstance(image, Scene):
            return super().labels_and_scores(image, protocol)
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
