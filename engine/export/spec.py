"""What goes into an exported network and what comes out, and the graph in between."""

from dataclasses import dataclass
from pathlib import Path

import nnabla as nn
import nnabla.functions as F

from common import __version__
from common.errors import UserError
from layers import functions as L
from models import Network, NetworkInfo, complexity

KINDS = {
    'logits': 'class scores before the softmax, (N, classes, H, W) float32, at the size of the '
    "image: the network's own maps, resized bilinearly with pixel centres at half integers",
    'probabilities': 'the softmax of the logits over the classes, (N, classes, H, W) float32',
    'labels': 'the class of the largest logit, (N, H, W), uint8 in ONNX',
    'maps': "the logits at the network's own resolution, (N, classes, h, w) float32, not resized",
}
ENDINGS = ('.onnx', '.nnp', '.nnb')
NORMALISED = 'normalised'
INPUT = 'image'


@dataclass(frozen=True)
class ExportSpec:
    """What goes into an exported network and what comes out.

    kind: of :data:`KINDS`. pixels: the input is (N, 3, H, W) in the network's channel order:
        ``normalised`` float32, (x - mean) / std, or pixels of 0 to 255 as ``float32`` or ``uint8``
        (ONNX only), which the file normalises itself. batch: the number of images; None leaves it
        free (ONNX only).
    """

    kind: str = 'logits'
    pixels: str = NORMALISED
    batch: int | None = 1

    def check(self, path: Path) -> None:
        """Raise ``UserError`` when a file of the ending of ``path`` cannot be of this form."""
        ending = path.suffix.lower()
        if ending not in ENDINGS:
            raise UserError(
                f'{path}: the ending says what is written; there are {", ".join(ENDINGS)}'
            )
        if self.kind not in KINDS:
            raise UserError(f'no output is called {self.kind!r}; there are {", ".join(KINDS)}')
        if self.pixels not in (NORMALISED, 'float32', 'uint8'):
            raise UserError(f'pixels are float32 or uint8, not {self.pixels!r}')
        if self.batch is not None and self.batch < 1:
            raise UserError(f'--batch-size must be at least 1, not {self.batch}')
        if ending != '.onnx' and self.batch is None:
            raise UserError(f'--dynamic-batch: {ending} files have one size, only ONNX has not')
        if ending != '.onnx' and self.pixels == 'uint8':
            raise UserError(f'--normalise uint8: {ending} files take float32, only ONNX bytes')
        if ending == '.nnb' and self.kind == 'labels':
            raise UserError("--output labels: NNB's numbers are floats; export logits instead")


LOGITS = ExportSpec()


def build(
    network: Network, size: tuple[int, int], form: ExportSpec
) -> tuple[nn.Variable, nn.Variable]:
    """The graph that is exported: its input (N, 3, H, W) and its output."""
    image = nn.Variable((form.batch or 2, 3, *size))
    x = image if form.pixels == NORMALISED else normalise(image, network.info)
    y = network(x, cuda=False)[0]
    if form.kind != 'maps':
        y = L.resize(y, size)
    if form.kind == 'probabilities':
        y = F.softmax(y, axis=1)
    elif form.kind == 'labels':
        y = F.max(y, axis=1, only_index=True)
    return image, y


def normalise(x: nn.Variable, info: NetworkInfo) -> nn.Variable:
    """(x - mean) / std of pixels (N, 3, H, W) of 0 to 255 in the network's channel order."""
    mean, scale = (
        F.concatenate(*(F.constant(value, (1, 1, 1, 1)) for value in values), axis=1)
        for values in (info.mean, [1 / deviation for deviation in info.std])
    )
    return (x - mean) * scale


def describe(network: Network, size: tuple[int, int], form: ExportSpec) -> dict:
    """What an exported file says about itself."""
    info = network.info
    return {
        'network': network.name,
        'output': form.kind,
        'output_means': KINDS[form.kind],
        'input': form.pixels,
        'size': list(size),
        'batch': form.batch or 'any',
        'channel_order': info.channel_order,
        'mean': list(info.mean),
        'std': list(info.std),
        'num_classes': info.num_classes,
        'paper': info.paper,
        'versions': {'nnseg': __version__, 'nnabla': nn.__version__},
    }


def check_size(name: str, info: NetworkInfo, size: tuple[int, int]) -> None:
    """Raise ``UserError`` for a size that the network cannot take, with the nearest it can."""
    nearest = complexity.nearest_size(info, size)
    if tuple(size) != nearest:
        divisor, least = info.size_divisor, info.smallest_size
        multiples = f'multiples of {divisor} and ' if divisor > 1 else ''
        raise UserError(
            f'--size {size[0]}x{size[1]}: height and width must be {multiples}at least {least} for '
            f'{name}; the nearest is {nearest[0]}x{nearest[1]}'
        )
