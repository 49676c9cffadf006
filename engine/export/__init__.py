"""Networks as files for other runtimes: ONNX, NNabla's NNP, and NNB for its C runtime.

    report = export(network, (512, 1024), 'network.onnx', Form('labels', pixels='uint8'))

A network of :func:`models.create` is exported with the registered parameters as they are. Nothing
is copied to a GPU: the graph is the one for the CPU.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nnabla as nn
import nnabla.functions as F

import files
from command import UserError
from d3net import layers as L
from models import Info, Network

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
MISMATCH = '.mismatch'  # what is added to the name of a file that computes something else


@dataclass(frozen=True)
class Form:
    """What goes into an exported network and what comes out.

    kind: of :data:`KINDS`. pixels: the input is (N, 3, H, W) in the network's channel order:
        ``normalised`` float32, (x - mean) / std, or pixels of 0 to 255 as ``float32`` or ``uint8``
        (ONNX only), which the file normalises itself. batch: the number of images; None leaves it
        free (ONNX only).
    """

    kind: str = 'logits'
    pixels: str = NORMALISED
    batch: int | None = 1

    def check(self, path: Path):
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


def export(
    network: Network,
    size: tuple[int, int],
    path: Path,
    form: Form = Form(),
    *,
    metadata: Mapping[str, object] | None = None,
    check: bool = True,
) -> str:
    """Write ``network`` for images of ``size = (height, width)``; the ending says in which format.

    metadata: what the file says about itself beside what is known here. check: run the file, where
    its runtime is installed, on a photo, and compare with NNabla. Returns a sentence on what was
    checked. The file is whole at any moment. Raises ``UserError``: also when the file does not
    compute what the network does, which then lies beside as ``FILE.mismatch``.
    """
    from engine.export import checks, formats

    path = Path(path)
    form.check(path)
    check_size(network, size)
    context = nn.Context(['cpu:float'], 'CpuCachedArray', '0')
    with nn.context_scope(context), files.replacing(path) as temporary:
        image, output = build(network, size, form)
        facts = describe(network, size, form) | dict(metadata or {})
        ending = path.suffix.lower()
        extra = formats.WRITERS[ending](temporary, image, output, form, facts)
        report = checks.NONE if not check else checks.check(temporary, network, size, form)
        if not report.matches:
            rejected = path.with_name(path.name + MISMATCH)
            temporary.replace(rejected)
            raise UserError(f'{path}: not written, {report}; it is kept as {rejected}')
        if extra is not None:
            with files.replacing(path.with_name(path.name + '.json')) as beside:
                beside.write_text(extra, encoding='utf-8')
    return str(report)


def build(network: Network, size: tuple[int, int], form: Form) -> tuple[nn.Variable, nn.Variable]:
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


def normalise(x: nn.Variable, info: Info) -> nn.Variable:
    """(x - mean) / std of pixels (N, 3, H, W) of 0 to 255 in the network's channel order."""
    mean, scale = (
        F.concatenate(*(F.constant(value, (1, 1, 1, 1)) for value in values), axis=1)
        for values in (info.mean, [1 / deviation for deviation in info.std])
    )
    return (x - mean) * scale


def describe(network: Network, size: tuple[int, int], form: Form) -> dict:
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
        'versions': {'nnabla': nn.__version__},
    }


def check_size(network: Network, size: tuple[int, int]):
    """Raise ``UserError`` for a size that the network cannot take, with the nearest it can."""
    from models import complexity

    nearest = complexity.nearest_size(network.info, size)
    if tuple(size) != nearest:
        info = network.info
        raise UserError(
            f'--size {size[0]}x{size[1]}: {network.name} takes heights and widths that are '
            f'multiples of {info.size_divisor}, at least {info.smallest_size}; the nearest is '
            f'{nearest[0]}x{nearest[1]}'
        )
