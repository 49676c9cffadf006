"""Whether an exported file computes what the network does: both see the same photo.

The other side is :class:`engine.inference.predictor.Predictor`, which normalises and resizes
without a graph, so that normalisation, channel order and upsampling are checked too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import nnabla as nn
import numpy as np

from common import PROJECT, machine
from datasets import image_files
from engine.backends.onnxruntime import ONNXRuntime
from engine.export import nnb_reader
from engine.export.spec import INPUT, NORMALISED, ExportSpec
from engine.export.writers import NETWORK
from engine.inference import predictor
from engine.onnx.builder import INSTALL
from models import Network

PHOTO = PROJECT / 'resources' / 'street.jpg'
TOLERANCE = 1e-4  # of the largest logit
FREE_BATCHES = (1, 3)  # numbers of images that a file is tried with that takes any
_DIFFERENCES = {
    'logits': 'largest difference {:.1e}, of logits up to {:.3g}',
    'maps': 'largest difference {:.1e}, of logits up to {:.3g}',
    'probabilities': 'largest difference of probabilities {:.1e}',
    'labels': 'their logits are at most {:.1e} below the largest, which is {:.3g}',
}


@dataclass(frozen=True)
class ExportCheck:
    """What a check has found, as a sentence."""

    matches: bool
    text: str

    def __str__(self):
        return self.text


NONE = ExportCheck(True, 'not checked')


def check(path: Path, network: Network, size: tuple[int, int], form: ExportSpec) -> ExportCheck:
    """Run a file of a network and compare with NNabla.

    Raises ``BackendError`` when ONNX Runtime cannot run it, ``MemoryError``.
    """
    ending = path.suffix.lower()
    if ending == '.nnp':
        runtime, run = f'NNabla {nn.__version__} with the loaded file', _nnp(path, form)
    elif ending == '.nnb':
        # The C runtime is no package: what is in the file is computed by NNabla's functions.
        runtime, run = f'what is in the file, run by NNabla {nn.__version__},', _nnb(path)
    else:
        try:
            onnxruntime = ONNXRuntime(machine.threads())
        except ModuleNotFoundError:
            return ExportCheck(
                True, f'valid, but not run, because onnxruntime is not installed: {INSTALL}'
            )
        runtime = f'{onnxruntime.name} {onnxruntime.versions[onnxruntime.name]}'
        run = onnxruntime.compile(path.read_bytes(), None).run
    counts = FREE_BATCHES if form.batch is None else (form.batch,)
    return compare(run, runtime, network, size, form, counts)


def compare(
    run: Callable[[np.ndarray], np.ndarray],
    runtime: str,
    network: Network,
    size: tuple[int, int],
    form: ExportSpec,
    counts: tuple[int, ...],
) -> ExportCheck:
    """Hold ``run``, from input to output of the form, against the network for as many images.

    Logits and maps may differ by ``TOLERANCE`` of the largest logit, probabilities by as much, and
    the logit of a label may be less than the largest by as much.
    """
    photos = [_photo(size, i / max(counts)) for i in range(max(counts))]
    reference = predictor.Predictor(network)
    scores = [reference.logits(photo) for photo in photos]
    highest = max(np.abs(each).max() for each in scores)
    largest, equal = 0.0, []
    for count in counts:
        results = run(np.stack([_pixels(photo, network, form) for photo in photos[:count]]))
        if len(results) != count:
            return ExportCheck(
                False, f'{runtime} returns {len(results)} results for {count} images'
            )
        for logits, result in zip(scores, results):
            labels = logits.argmax(axis=0)
            if form.kind == 'labels':
                chosen = np.take_along_axis(logits, result[None].astype(np.int64), 0)[0]
                difference, found = logits.max(axis=0) - chosen, result
            else:
                if form.kind == 'maps':
                    result = predictor.resize_rows(result, size, slice(0, size[0]), size[1])
                expected = predictor.softmax(logits) if form.kind == 'probabilities' else logits
                difference, found = np.abs(expected - result), result.argmax(axis=0)
            largest = np.maximum(largest, difference.max())  # which keeps a NaN
            equal.append(np.mean(found == labels))
    matches = bool(largest <= TOLERANCE * highest)
    text = (
        f'{runtime} {"agrees with" if matches else "differs from"} NNabla on {PHOTO.name}: '
        f'{_DIFFERENCES[form.kind].format(largest, highest)}, {np.mean(equal):.2%} of labels equal'
    )
    return ExportCheck(matches, text)


def _nnp(path: Path, form: ExportSpec):
    from nnabla.utils.nnp_graph import NnpLoader

    network = NnpLoader(str(path)).get_network(NETWORK, batch_size=form.batch)
    image, output = network.inputs[INPUT], network.outputs[form.kind]

    def run(x):
        image.d = x
        output.forward(clear_buffer=True)
        return np.array(output.d)

    return run


def _nnb(path: Path):
    contents = nnb_reader.read(path)
    return lambda x: nnb_reader.run(contents, x)


def _photo(size, shift: float) -> np.ndarray:
    """The photo, uint8 BGR (H, W, 3), moved to the left by a share of its width."""
    photo = cv2.resize(image_files.read_image(PHOTO), size[::-1], interpolation=cv2.INTER_AREA)
    return np.roll(photo, -int(shift * size[1]), axis=1)


def _pixels(photo: np.ndarray, network: Network, form: ExportSpec) -> np.ndarray:
    """A photo as the file's input, (3, H, W)."""
    if form.pixels == NORMALISED:
        return predictor.normalise(photo, network.info)
    ordered = photo[..., ::-1] if network.info.channel_order == 'rgb' else photo
    return np.ascontiguousarray(ordered.transpose(2, 0, 1)).astype(form.pixels)
