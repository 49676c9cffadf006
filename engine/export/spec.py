"""Specify input and output of an exported network, and build the graph between them."""

from dataclasses import dataclass
from pathlib import Path

import nnabla as nn
import nnabla.functions as F

from common.errors import UserError
from common.tasks import CLASSES, PICTURE_CHANNELS, SEGMENTATION, Task
from engine.backends.base import FLOAT32
from layers import functions as L
from models import Network, NetworkInfo, complexity

KINDS = {
    'logits': 'class scores before the softmax, (N, classes, H, W) float32, at the size of the '
    "image: the network's own maps, resized bilinearly with pixel centres at half integers",
    'probabilities': 'the softmax of the logits over the classes, (N, classes, H, W) float32',
    'labels': 'the class of the largest logit, (N, H, W), uint8 in ONNX and OpenVINO',
    'maps': "the logits at the network's own resolution, (N, classes, h, w) float32, not resized",
}
OPENVINO_ENDING = '.xml'
FLEXIBLE_ENDINGS = ('.onnx', OPENVINO_ENDING)  # of formats with free sizes and other types
ENDINGS = (*FLEXIBLE_ENDINGS, '.nnp', '.nnb')
NORMALISED = 'normalised'
INPUT = 'image'
# Sizes of an image in which maps of different strides differ in size; they are built, not computed.
BUILT_SIZES = ((662, 874), (778, 1044), (936, 620), (1214, 755), (541, 1333))
CHECKED_SIZES = ((192, 256), (321, 225), (288, 477))  # at which a file of a free size is run
FINE_DIVISOR = 32  # BUILT_SIZES suit networks with no larger divisor of sizes
INT8, DYNAMIC = 'int8', 'dynamic'


@dataclass(frozen=True)
class ExportSpec:
    """Input and output of an exported network.

    Attributes:
        kind: Kind of the output, a key of :data:`KINDS`.
        pixels: Kind of the input, (N, 3k, H, W) in the network's channel order: ``normalised``
            float32, (x - mean) / std, or pixels of 0 to 255 as ``float32`` or ``uint8`` (ONNX
            and OpenVINO only), which the file itself normalises.
        batch: Number of images; None for a dynamic batch (ONNX and OpenVINO only).
        free_size: Whether the file takes images of every size (ONNX and OpenVINO only).
        precision: ``float32``, or ``int8`` (OpenVINO only).
    """

    kind: str = 'logits'
    pixels: str = NORMALISED
    batch: int | None = 1
    free_size: bool = False
    precision: str = FLOAT32

    def check(self, path: Path) -> None:
        """Raise ``UserError`` if the format of ``path`` does not support this specification."""
        ending = path.suffix.lower()
        flexible = ending in FLEXIBLE_ENDINGS
        if ending not in ENDINGS:
            raise UserError(
                f'{path}: the ending selects the format; use one of {", ".join(ENDINGS)}'
            )
        if self.kind not in KINDS:
            raise UserError(f'no output is called {self.kind!r}; use one of {", ".join(KINDS)}')
        if self.pixels not in (NORMALISED, 'float32', 'uint8'):
            raise UserError(f'pixels are float32 or uint8, not {self.pixels!r}')
        if self.batch is not None and self.batch < 1:
            raise UserError(f'--batch-size must be at least 1, not {self.batch}')
        if not flexible and self.batch is None:
            raise UserError(
                f'--dynamic-batch: {ending} files have a fixed batch size; export to .onnx instead'
            )
        if not flexible and self.free_size:
            raise UserError(
                f'--size {DYNAMIC}: {ending} files have a fixed size; export to .onnx instead'
            )
        if not flexible and self.pixels == 'uint8':
            raise UserError(
                f'--normalise uint8: {ending} files accept float32 only; export to .onnx instead'
            )
        if ending != OPENVINO_ENDING and self.precision == INT8:
            raise UserError(
                f'--precision int8: {ending} files hold float32 only; export to '
                f'{path.with_suffix(OPENVINO_ENDING).name} instead, which OpenVINO runs'
            )
        if ending == '.nnb' and self.kind == 'labels':
            raise UserError('--output labels: NNB holds floats only; export logits instead')


LOGITS = ExportSpec()


@dataclass(frozen=True)
class ExportGraph:
    """A graph to export.

    Attributes:
        image: Its input, (N, 3k, H, W): the k pictures of a scene.
        outputs: Its outputs by their names, see :func:`output_names`.
        others: Input and outputs of the same graph for images of other sizes; empty for a file of a
            fixed size.
    """

    image: nn.Variable
    outputs: dict[str, nn.Variable]
    others: tuple[tuple[nn.Variable, dict[str, nn.Variable]], ...] = ()


def build_graph(network: Network, size: tuple[int, int], spec: ExportSpec) -> ExportGraph:
    """Build the graph to export.

    Args:
        network: Network whose parameters are registered.
        size: Height and width of the input; unused for a file of a free size.
        spec: Specification of input and output; a dynamic batch builds a graph for two images.
    """
    if not spec.free_size:
        return ExportGraph(*_build(network, size, spec))
    first, *others = (_build(network, each, spec) for each in built_sizes(network.info))
    return ExportGraph(*first, tuple(others))


def _build(
    network: Network, size: tuple[int, int], spec: ExportSpec
) -> tuple[nn.Variable, dict[str, nn.Variable]]:
    info = network.info
    image = nn.Variable((spec.batch or 2, PICTURE_CHANNELS * info.inputs, *size))
    x = image if spec.pixels == NORMALISED else normalise(image, info)
    maps = zip(output_names(info, spec), network(x, cuda=False), info.tasks, strict=True)
    return image, {name: _output(y, task, size, spec) for name, y, task in maps}


def _output(y: nn.Variable, task: Task, size: tuple[int, int], spec: ExportSpec) -> nn.Variable:
    """Return the output of a task, which is depth itself for all kinds of resized outputs."""
    if spec.kind != 'maps':
        y = L.resize(y, size)
    if task.kind == CLASSES and spec.kind == 'probabilities':
        y = F.softmax(y, axis=1)
    elif task.kind == CLASSES and spec.kind == 'labels':
        y = F.max(y, axis=1, only_index=True)
    return y


def output_names(info: NetworkInfo, spec: ExportSpec) -> list[str]:
    """Return the names of a file's outputs: its kind, or those of the network's tasks.

    A task that is called like the input has an output of another name.
    """
    names = [task.name for task in info.tasks]
    if names == [SEGMENTATION]:
        return [spec.kind]
    instead = f'{INPUT}_output'  # a graph has each name once
    while instead in names:
        instead += '_output'
    return [instead if name == INPUT else name for name in names]


def built_sizes(info: NetworkInfo) -> list[tuple[int, int]]:
    """Return sizes of an image that show how a network's maps follow it."""
    factor = max(1, info.size_divisor // FINE_DIVISOR)
    return [complexity.nearest_size(info, (h * factor, w * factor)) for h, w in BUILT_SIZES]


def checked_sizes(info: NetworkInfo) -> list[tuple[int, int]]:
    """Return three sizes of an image at which a file of a free size is compared with NNabla."""
    sizes = [complexity.nearest_size(info, size) for size in CHECKED_SIZES]
    step = info.size_divisor
    for index, (height, width) in enumerate(sizes):
        if (height, width) in sizes[:index]:  # a large divisor
            sizes[index] = height + (index % 2) * step, width + (index // 2) * step
    return sizes


def normalise(x: nn.Variable, info: NetworkInfo) -> nn.Variable:
    """Return (x - mean) / std of pixels from 0 to 255.

    Args:
        x: (N, 3k, H, W) in the network's channel order.
        info: Facts of the network, with mean and std.
    """
    mean, scale = (
        F.concatenate(*(F.constant(value, (1, 1, 1, 1)) for value in values * info.inputs), axis=1)
        for values in (info.mean, tuple(1 / deviation for deviation in info.std))
    )
    return (x - mean) * scale


def check_size(name: str, info: NetworkInfo, size: tuple[int, int]) -> None:
    """Raise ``UserError`` if the network rejects a size; the message names the nearest one."""
    nearest = complexity.nearest_size(info, size)
    if tuple(size) != nearest:
        divisor, least = info.size_divisor, info.smallest_size
        multiples = f'multiples of {divisor} and ' if divisor > 1 else ''
        raise UserError(
            f'--size {size[0]}x{size[1]}: height and width must be {multiples}at least {least} for '
            f'{name}; the nearest is {nearest[0]}x{nearest[1]}'
        )
