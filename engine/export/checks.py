"""Compare an exported file with the network on a photo.

The reference is :class:`engine.inference.predictor.Predictor`. It normalises and resizes without a
graph, so the comparison covers normalisation, channel order and upsampling as well.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import nnabla as nn
import numpy as np

from common import PROJECT, machine
from common.tasks import DEPTH, Task, channel_slices
from datasets import image_files
from datasets.loading.resample import resize_image
from engine.backends.agreement import EQUAL_DEPTH, describe_difference
from engine.backends.differences import absolute_difference, largest_magnitude
from engine.backends.onnxruntime import ONNXRuntime
from engine.backends.openvino import OpenVINO
from engine.export import nnb_reader
from engine.export.file_inputs import batch_of, pixels_of
from engine.export.spec import INPUT, INT8, OPENVINO_ENDING, ExportSpec, checked_sizes
from engine.export.writers import NETWORK
from engine.inference import predictor
from engine.inference.resampling import resize_rows
from engine.inference.scene import Picture, Scene
from engine.inference.scores import softmax
from engine.onnx.package import INSTALL
from models import Network

PHOTO = PROJECT / 'resources' / 'street.jpg'
TOLERANCE = 1e-4  # relative to the largest logit
DYNAMIC_BATCHES = (1, 3)  # batch sizes that test a file with a dynamic batch
Run = Callable[[np.ndarray], Sequence[np.ndarray]]  # from the input to all outputs


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
    path: Path,
    network: Network,
    size: tuple[int, int],
    spec: ExportSpec,
    weights: bytes | None = None,
    images: Sequence[np.ndarray] = (),
) -> ExportCheck:
    """Run an exported file and compare its output with NNabla's.

    Args:
        path: File in a format of export.
        network: Network that the file was exported from.
        size: Height and width of the file's input; a file of a free size is run at three others.
        spec: Specification of the file's input and output.
        weights: Content of the file beside it, for OpenVINO.
        images: Images on which an int8 file is run, besides the photo, (h, w, 3) uint8, BGR.

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
    elif ending == OPENVINO_ENDING:
        openvino = OpenVINO(threads=machine.threads())
        runtime = f'{openvino.name} {openvino.versions[openvino.name].split("-")[0]}'
        run = openvino.compile_files(path.read_bytes(), weights or b'').run_all
    else:
        try:
            onnxruntime = ONNXRuntime(machine.threads())
        except ModuleNotFoundError:
            return ExportCheck(
                True, f'valid, but not run because onnxruntime is not installed: {INSTALL}'
            )
        runtime = f'{onnxruntime.name} {onnxruntime.versions[onnxruntime.name]}'
        run = onnxruntime.compile(path.read_bytes(), None).run_all
    counts = DYNAMIC_BATCHES if spec.batch is None else (spec.batch,)
    if spec.precision == INT8:
        return _compare_labels(run, runtime, network, size, spec, images)
    sizes = checked_sizes(network.info) if spec.free_size else [size]
    return compare_with_network(run, runtime, network, sizes, spec, counts)


def compare_with_network(
    run: Run,
    runtime: str,
    network: Network,
    sizes: Sequence[tuple[int, int]],
    spec: ExportSpec,
    counts: tuple[int, ...],
) -> ExportCheck:
    """Compare the outputs of a runtime with those of the network.

    The tolerance is ``TOLERANCE`` times the largest logit. It applies to logits, maps and
    probabilities, and to the amount by which the logit of a label is below the largest logit.

    Args:
        run: Function from the input to the outputs of the specification.
        runtime: Name of the runtime for the result.
        network: The network.
        sizes: Heights and widths of the input to test.
        spec: Specification of input and output.
        counts: Batch sizes to test.
    """
    compared = [_ComparedTask() for _ in network.info.tasks]
    for size in sizes:
        problem = _compare_at(run, network, size, spec, counts, compared)
        if problem:
            return ExportCheck(False, f'{runtime} {problem}')
    matches = all(each.matches for each in compared)
    named = [f'{height}x{width}' for height, width in sizes]
    where = f' at {", ".join(named[:-1])} and {named[-1]}' if len(sizes) > 1 else ''
    text = (
        f'{runtime} {"agrees with" if matches else "differs from"} NNabla on {PHOTO.name}{where}: '
        + '; '.join(
            each.describe(task, spec, alone=len(compared) == 1)
            for task, each in zip(network.info.tasks, compared)
        )
    )
    return ExportCheck(matches, text)


@dataclass
class _ComparedTask:
    """What comparing the output of one task with the network's has found so far.

    Attributes:
        highest: The largest logit, or the largest depth.
        largest: The largest difference.
        equal: For each image, the share of equal labels, or of depths that differ by at most
            ``EQUAL_DEPTH``.
    """

    highest: float = 0.0
    largest: float = 0.0
    equal: list[float] = field(default_factory=list)

    @property
    def matches(self) -> bool:
        return bool(self.largest <= TOLERANCE * self.highest)

    def describe(self, task: Task, spec: ExportSpec, alone: bool) -> str:
        name, equal = '' if alone else f'{task.name}: ', f'{np.mean(self.equal):.2%}'
        if task.kind == DEPTH:
            difference = describe_difference(self.largest)
            return f'{name}{difference}, of depths up to {self.highest:.3g} m'
        return (
            f'{name}{_difference(spec.kind, self.largest, self.highest)}, {equal} of labels equal'
        )

    def add(self, scores: np.ndarray, result: np.ndarray, kind: str, depth: bool) -> None:
        """Compare one image.

        Args:
            scores: The network's maps of the task at the size of the image, (channels, H, W).
            result: The file's output for it.
            kind: Kind of the output, ``maps`` being resized already.
            depth: Whether the task is depth.
        """
        self.highest = max(self.highest, float(largest_magnitude(scores)))
        if depth:
            difference = absolute_difference(scores, result)
            same = difference <= EQUAL_DEPTH * np.abs(scores)
        elif kind == 'labels':
            chosen = np.take_along_axis(scores, result[None].astype(np.int64), 0)[0]
            difference = absolute_difference(scores.max(axis=0), chosen)
            same = result == scores.argmax(axis=0)
        else:
            expected = softmax(scores) if kind == 'probabilities' else scores
            difference = absolute_difference(expected, result)
            same = result.argmax(axis=0) == scores.argmax(axis=0)
        # np.maximum propagates NaN, unlike max()
        self.largest = float(np.maximum(self.largest, difference.max()))
        self.equal.append(float(np.mean(same)))


def _compare_at(
    run: Run,
    network: Network,
    size: tuple[int, int],
    spec: ExportSpec,
    counts: tuple[int, ...],
    compared: Sequence[_ComparedTask],
) -> str:
    """Compare results at one size; return what is wrong with their form, '' if nothing is.

    Args:
        run: Function from the input to the outputs of the specification.
        network: The network.
        size: Height and width of the input.
        spec: Specification of input and output.
        counts: Batch sizes to test.
        compared: Takes the results of each task.
    """
    photos = [_scene(size, i / max(counts), network) for i in range(max(counts))]
    reference = predictor.Predictor(network)
    scores = [reference.logits(photo) for photo in photos]
    tasks = network.info.tasks
    for count in counts:
        outputs = run(np.stack([pixels_of(photo, network, spec) for photo in photos[:count]]))
        for own, task, channels, results in zip(
            compared, tasks, channel_slices(tasks), outputs, strict=True
        ):
            if len(results) != count:
                return f'returns {len(results)} results for {count} images'
            for maps, result in zip(scores, results):
                if spec.kind == 'maps':
                    result = resize_rows(result, size, slice(0, size[0]))
                own.add(maps[channels], result, spec.kind, task.kind == DEPTH)
    return ''


def _compare_labels(
    run: Run,
    runtime: str,
    network: Network,
    size: tuple[int, int],
    spec: ExportSpec,
    images: Sequence[np.ndarray],
) -> ExportCheck:
    """Compare the labels of an int8 file with those of the float32 network, on all images."""
    reference, equal = predictor.Predictor(network), list[float]()
    for photo in (_photo(size, 0), *(resize_image(image, size) for image in images)):
        expected = reference.logits(photo).argmax(axis=0)
        ((result, *_),) = run(batch_of(photo, network, (spec.batch or 1, 3, *size), spec))
        if not np.isfinite(result).all():
            return ExportCheck(False, f'{runtime} computes NaN or infinity in int8')
        if spec.kind == 'maps':
            result = resize_rows(result, size, slice(0, size[0]))
        labels = result if spec.kind == 'labels' else result.argmax(axis=0)
        equal.append(float(np.mean(labels == expected)))
    text = (
        f'int8 in {runtime}: {np.mean(equal):.2%} of labels equal those of NNabla in float32, on '
        f'{PHOTO.name} and {len(images)} calibration image{"s" * (len(images) != 1)}'
    )
    return ExportCheck(True, text)


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
    image, (output,) = network.inputs[INPUT], network.outputs.values()

    def run(x):
        image.d = x
        output.forward(clear_buffer=True)
        return [np.array(output.d)]

    return run


def _nnb(path: Path):
    contents = nnb_reader.read_nnb(path)
    return lambda x: [nnb_reader.run_nnb(contents, x)]


def _scene(size: tuple[int, int], shift: float, network: Network) -> Picture:
    """Return the photo, or for several inputs a scene of photos that are shifted further."""
    count = network.info.inputs
    if count == 1:
        return _photo(size, shift)
    pictures = tuple(_photo(size, shift + number / 7) for number in range(count))
    return Scene(pictures, (False,) * count)


def _photo(size, shift: float) -> np.ndarray:
    """Return the photo, (H, W, 3) uint8 BGR, shifted to the left by a share of its width."""
    photo = cv2.resize(image_files.read_image(PHOTO), size[::-1], interpolation=cv2.INTER_AREA)
    return np.roll(photo, -int(shift * size[1]), axis=1)
