"""Compare an exported file with the network on a photo.

The reference is :class:`engine.inference.predictor.Predictor`. It normalises and resizes without a
graph, so the comparison covers normalisation, channel order and upsampling as well.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import nnabla as nn
import numpy as np

from common import PROJECT, machine
from datasets import image_files
from engine.backends.differences import absolute_difference, largest_magnitude
from engine.backends.exported import describe_difference
from engine.backends.onnxruntime import ONNXRuntime
from engine.export import nnb_reader
from engine.export.spec import INPUT, NORMALISED, ExportSpec
from engine.export.writers import NETWORK
from engine.inference import predictor
from engine.inference.resampling import resize_rows
from engine.inference.scores import softmax
from engine.onnx.builder import INSTALL
from models import Network

PHOTO = PROJECT / 'resources' / 'street.jpg'
TOLERANCE = 1e-4  # relative to the largest logit
DYNAMIC_BATCHES = (1, 3)  # batch sizes that test a file with a dynamic batch


@dataclass(frozen=True)
class ExportCheck:
    """The result of a comparison.

    Attributes:
        matches: Whether the file computes the same as the network.
        text: A sentence that describes the result.
    """

    matches: bool
    text: str

    def __str__(self):
        return self.text


NOT_CHECKED = ExportCheck(True, 'not checked')


def check_file(
    path: Path, network: Network, size: tuple[int, int], spec: ExportSpec
) -> ExportCheck:
    """Run an exported file and compare its output with NNabla's.

    Args:
        path: ONNX, NNP or NNB file.
        network: Network that the file was exported from.
        size: Height and width of the file's input.
        spec: Specification of the file's input and output.

    Raises:
        BackendError: ONNX Runtime cannot run the file.
        MemoryError: The memory does not suffice.
    """
    ending = path.suffix.lower()
    if ending == '.nnp':
        runtime, run = f'NNabla {nn.__version__} with the loaded file', _nnp(path, spec)
    elif ending == '.nnb':
        # No package contains the C runtime, so NNabla's functions compute the file's content.
        runtime, run = f"the file's content, run by NNabla {nn.__version__},", _nnb(path)
    else:
        try:
            onnxruntime = ONNXRuntime(machine.threads())
        except ModuleNotFoundError:
            return ExportCheck(
                True, f'valid, but not run because onnxruntime is not installed: {INSTALL}'
            )
        runtime = f'{onnxruntime.name} {onnxruntime.versions[onnxruntime.name]}'
        run = onnxruntime.compile(path.read_bytes(), None).run
    counts = DYNAMIC_BATCHES if spec.batch is None else (spec.batch,)
    return compare_with_network(run, runtime, network, size, spec, counts)


def compare_with_network(
    run: Callable[[np.ndarray], np.ndarray],
    runtime: str,
    network: Network,
    size: tuple[int, int],
    spec: ExportSpec,
    counts: tuple[int, ...],
) -> ExportCheck:
    """Compare the outputs of a runtime with those of the network.

    The tolerance is ``TOLERANCE`` times the largest logit. It applies to logits, maps and
    probabilities, and to the amount by which the logit of a label is below the largest logit.

    Args:
        run: Function from the input to the output of the specification.
        runtime: Name of the runtime for the result.
        network: The network.
        size: Height and width of the input.
        spec: Specification of input and output.
        counts: Batch sizes to test.
    """
    photos = [_photo(size, i / max(counts)) for i in range(max(counts))]
    reference = predictor.Predictor(network)
    scores = [reference.logits(photo) for photo in photos]
    highest = max(map(largest_magnitude, scores))
    largest, equal = 0.0, []
    for count in counts:
        results = run(np.stack([_pixels(photo, network, spec) for photo in photos[:count]]))
        if len(results) != count:
            return ExportCheck(
                False, f'{runtime} returns {len(results)} results for {count} images'
            )
        for logits, result in zip(scores, results):
            labels = logits.argmax(axis=0)
            if spec.kind == 'labels':
                chosen = np.take_along_axis(logits, result[None].astype(np.int64), 0)[0]
                difference, found = absolute_difference(logits.max(axis=0), chosen), result
            else:
                if spec.kind == 'maps':
                    result = resize_rows(result, size, slice(0, size[0]))
                expected = softmax(logits) if spec.kind == 'probabilities' else logits
                difference = absolute_difference(expected, result)
                found = result.argmax(axis=0)
            largest = np.maximum(largest, difference.max())  # propagates NaN, unlike max()
            equal.append(np.mean(found == labels))
    matches = bool(largest <= TOLERANCE * highest)
    text = (
        f'{runtime} {"agrees with" if matches else "differs from"} NNabla on {PHOTO.name}: '
        f'{_difference(spec.kind, largest, highest)}, {np.mean(equal):.2%} of labels equal'
    )
    return ExportCheck(matches, text)


def _difference(kind: str, largest: float, highest: float) -> str:
    """Return the largest difference in words.

    Args:
        kind: Kind of the file's output.
        largest: The largest difference; for labels, by how much a label's logit is below the
            largest logit of its pixel.
        highest: The largest logit.
    """
    if kind == 'labels' and not largest:
        return 'every label has the largest logit of its pixel'
    if kind == 'labels':
        return (
            f'a label has at worst a logit {largest:.1e} below the largest of its pixel, of logits '
            f'up to {highest:.3g}'
        )
    of_what = ' of probabilities' if kind == 'probabilities' else f', of logits up to {highest:.3g}'
    return f'{describe_difference(largest)}{of_what}'


def _nnp(path: Path, spec: ExportSpec):
    from nnabla.utils.nnp_graph import NnpLoader

    network = NnpLoader(str(path)).get_network(NETWORK, batch_size=spec.batch)
    image, output = network.inputs[INPUT], network.outputs[spec.kind]

    def run(x):
        image.d = x
        output.forward(clear_buffer=True)
        return np.array(output.d)

    return run


def _nnb(path: Path):
    contents = nnb_reader.read_nnb(path)
    return lambda x: nnb_reader.run_nnb(contents, x)


def _photo(size, shift: float) -> np.ndarray:
    """Return the photo, (H, W, 3) uint8 BGR, shifted to the left by a share of its width."""
    photo = cv2.resize(image_files.read_image(PHOTO), size[::-1], interpolation=cv2.INTER_AREA)
    return np.roll(photo, -int(shift * size[1]), axis=1)


def _pixels(photo: np.ndarray, network: Network, spec: ExportSpec) -> np.ndarray:
    """Convert a photo to the file's input, (3, H, W)."""
    if spec.pixels == NORMALISED:
        return predictor.normalise(photo, network.info)
    ordered = photo[..., ::-1] if network.info.channel_order == 'rgb' else photo
    return np.ascontiguousarray(ordered.transpose(2, 0, 1)).astype(spec.pixels)
