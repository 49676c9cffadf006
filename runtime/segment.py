#!/usr/bin/env python3
"""Segment images, folders and videos with an exported network, on machines without NNabla.

    python segment.py NETWORK.onnx -i photo.jpg -o result.jpg
    python segment.py NETWORK.onnx -i photos/ drive.mp4 -o results --save-labels
    python segment.py NETWORK.onnx --benchmark

``python -m engine.export`` writes the networks. This file needs nothing else of the project: Python
3.8 or newer with numpy, OpenCV, and onnxruntime or openvino suffices. It also works as a module:

    import segment

    model = segment.load('NETWORK.onnx')
    image = model.read('photo.jpg')         # (H, W, 3) uint8, BGR, as cv2.imread returns
    labels = model(image)                   # (H, W) uint8, class indices
    picture = model.overlay(image, labels)  # (H, W, 3) uint8, BGR
"""

from __future__ import annotations

import argparse
import glob
import hashlib
import importlib
import importlib.util
import json
import os
import platform
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Sequence

PACKAGES = 'numpy opencv-python-headless onnxruntime'
try:
    import cv2
    import numpy as np
except ModuleNotFoundError as error:
    if __name__ == '__main__':
        print(
            f'error: {error.name} is not installed: python -m pip install {PACKAGES}',
            file=sys.stderr,
        )
        sys.exit(2)
    raise

DONE, SOME_FAILED, MISTAKE, INTERRUPTED, CLOSED_PIPE = 0, 1, 2, 130, 141  # exit statuses
RUNTIMES = ('openvino', 'onnxruntime')  # the first that is installed is the default
IMAGE_SUFFIXES = (
    '.jpg', '.jpeg', '.jpe', '.jp2', '.png', '.bmp', '.dib', '.tif', '.tiff', '.webp', '.ppm',
    '.pgm', '.pbm', '.pnm', '.gif', '.avif',
)  # fmt: skip
TIFF_HEADS = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
VIDEO_SUFFIXES = (
    '.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv', '.flv', '.ts',
)  # fmt: skip
CODECS = {'.mp4': 'mp4v', '.m4v': 'mp4v', '.mov': 'mp4v', '.mkv': 'mp4v', '.avi': 'MJPG'}
USUAL_RATE = 25.0  # frames per second of a video that states no number
LABELS_ENDING, COLOR_ENDING = '_labels.png', '_color.png'  # follow the stem of the picture's name
OUTPUTS = ('maps', 'logits', 'probabilities', 'labels')
BENCHMARK_RUNS, WARM_UP_RUNS = 50, 5
ROWS_PER_BLEND = 64  # blending needs 16 times the memory of the rows that it colours

Run = Callable[[np.ndarray], np.ndarray]


class SegmentError(Exception):
    """A mistake that the user can mend; its text is one line with the remedy."""


class MetadataError(SegmentError):
    """The metadata of a file are not those that ``python -m engine.export`` writes."""


# Networks


class Model:
    """A network of an exported file that segments images.

    Attributes:
        facts: Metadata of the file, as docs/export.md of the project lists them.
        classes: Names of the classes by index.
        palette: Colours of the classes by index, as (red, green, blue).
        size: Height and width at which the network sees an image; None for the image's own.
        batch: Number of images that the network takes at once; None for any number.
        protocol: How infer.py of the project shows images to the network, if not at their own size.
        run: Function from the input of the file to its output.
        runtime: Name and version of the runtime.

    Args:
        facts: Metadata of the file.
        run: Function from the input of the file to its output.
        runtime: Name and version of the runtime.
        size: Height and width, for a file that takes any size.

    Raises:
        MetadataError: The metadata are not those of an exported file.
        SegmentError: The network does not take the size.
    """

    def __init__(
        self,
        facts: Mapping[str, Any],
        run: Run,
        runtime: str = '',
        size: Sequence[int] | None = None,
    ):
        self.facts, self.run, self.runtime = facts, run, runtime
        try:
            self.classes = [str(name) for name in facts['classes']]
            colours = b''.join(bytes(colour) for colour in facts['palette'])
            self.palette = np.frombuffer(colours, np.uint8).reshape(-1, 3)
            if len(self.palette) != len(self.classes):
                raise ValueError(f'{len(self.palette)} colours, {len(self.classes)} classes')
            self._colours = np.zeros((256, 3))  # by class index, BGR
            self._colours[: len(self.palette)] = self.palette[:, ::-1]
            self.batch = None if facts['batch'] == 'any' else int(facts['batch'])
            fixed = None if facts['size'] == 'any' else [int(side) for side in facts['size']]
            self._step, self._least = int(facts['size_divisor']), int(facts['smallest_size'])
            self._pad_value = np.array(facts['pad_value'], np.float32).reshape(3, 1, 1)
            self._rgb = ('bgr', 'rgb').index(facts['channel_order']) == 1
            self._table = _input_values(facts)
            self._output = OUTPUTS[OUTPUTS.index(facts['output'])]
            self._padded((1, 1))
            self.protocol = dict(facts.get('protocol') or {})
        except KeyError as error:
            raise MetadataError(f'its metadata lack {error.args[0]!r}') from error
        except (TypeError, ValueError, ArithmeticError) as error:
            raise MetadataError(f'its metadata are damaged: {error}') from error
        if facts.get('tasks') or facts.get('inputs', 1) != 1:
            raise MetadataError(
                'its network takes several pictures or has several tasks, which this program does '
                'not show; infer.py of the project does'
            )
        self.size = self._chosen_size(fixed, size)
        if self.size is None and self.protocol.get('size'):
            self.size = self._chosen_size(None, self.protocol['size'])

    def _chosen_size(self, fixed: list[int] | None, wanted: Sequence[int] | None) -> Any:
        if wanted is None or fixed == list(wanted):
            return tuple(fixed) if fixed else None
        if fixed:
            raise SegmentError(f'it takes images of {fixed[0]}x{fixed[1]} only; leave out --size')
        if self._padded(wanted) != tuple(wanted):
            near = 'x'.join(map(str, self._padded(wanted)))
            raise SegmentError(f'it does not take --size {wanted[0]}x{wanted[1]}; use {near}')
        return tuple(wanted)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return the class of every pixel of an image.

        Args:
            image: (H, W, 3) uint8, BGR, or (H, W) uint8, grey.

        Returns:
            (H, W) uint8, class indices.
        """
        return self.segment([image])[0]

    def segment(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the classes of several images, which the network computes in batches.

        Args:
            images: Each (H, W, 3) uint8, BGR, or (H, W) uint8, grey.

        Returns:
            (H, W) uint8, class indices, of each image.
        """
        step = self.batch or (len(images) if self.size else 1)
        labels: list[np.ndarray] = []
        for first in range(0, len(images), max(step, 1)):
            some = [_bgr(image) for image in images[first : first + step]]
            labels += self.labels(self.run(self.prepare(some)), some)
        return labels

    def prepare(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Return the input of the file, (N, 3, height, width).

        Args:
            images: At most ``batch`` images, each (H, W, 3) uint8, BGR. A file for more takes the
                last one several times.
        """
        height, width = self._seen(images[0])
        count = self.batch or len(images)
        x = np.empty((count, 3, height, width), self._table.dtype)
        for target, image in zip(x, images):
            if not self._is_padded(image):
                shrinks = height * width < image.shape[0] * image.shape[1]
                method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
                image = cv2.resize(image, (width, height), interpolation=method)
            elif image.shape[:2] != (height, width):
                target[...] = self._pad_value
            planes = cv2.split(image)[:: -1 if self._rgb else 1]
            for plane, values, part in zip(planes, self._table, target):
                part[: image.shape[0], : image.shape[1]] = cv2.LUT(plane, values)
        x[len(images) :] = x[len(images) - 1]
        return x

    def labels(self, output: np.ndarray, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the class of every pixel of each image, (H, W) uint8, from the file's output."""
        return [self._labels(maps, image) for maps, image in zip(output, images)]

    def _labels(self, maps: np.ndarray, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        full = self._seen(image) if self._is_padded(image) else (height, width)
        if self._output == 'labels':
            labels = cv2.resize(maps, full[::-1], interpolation=cv2.INTER_NEAREST)
        else:
            labels = _largest(maps, full)
        return np.ascontiguousarray(labels[:height, :width])

    def _seen(self, image: np.ndarray) -> tuple[int, int]:
        """Return the height and the width at which the network sees an image."""
        if self.size or not self.protocol.get('area_of'):
            return self.size or self._padded(image.shape[:2])
        factor = (np.prod(self.protocol['area_of']) / np.prod(image.shape[:2])) ** 0.5
        step = self.protocol.get('multiple', 8) if factor != 1 else 1
        return self._padded(
            [max(1, round(side * factor / step)) * step for side in image.shape[:2]]
        )

    def _is_padded(self, image: np.ndarray) -> bool:
        """Return whether an image is padded, if need be, instead of resized."""
        return self._padded(image.shape[:2]) == self._seen(image)

    def _padded(self, size: Sequence[int]) -> Any:
        """Return the smallest size that the network accepts for an image of ``size``."""
        return tuple(-(-max(side, self._least) // self._step) * self._step for side in size)

    def read(self, path: str | os.PathLike[str]) -> np.ndarray:
        """Read an image file as the network needs it, (H, W, 3) uint8, BGR."""
        return read_image(
            path, self.facts.get('bit_depth'), self.facts.get('exif_orientation') != 'ignore'
        )

    def overlay(self, image: np.ndarray, labels: np.ndarray, opacity: float = 0.5) -> np.ndarray:
        """Blend the colours of the classes into an image.

        Args:
            image: (H, W, 3) uint8, BGR, or (H, W) uint8, grey.
            labels: (H, W) uint8, class indices.
            opacity: Weight of the colours, from 0 to 1.

        Returns:
            (H, W, 3) uint8, BGR.
        """
        image = _bgr(image)
        picture, colours = np.empty_like(image), self._colours * opacity
        for top in range(0, len(image), ROWS_PER_BLEND):
            rows = slice(top, top + ROWS_PER_BLEND)
            picture[rows] = image[rows] * (1 - opacity) + colours[labels[rows]]
        return picture

    def legend(self, height: int) -> np.ndarray:
        """Draw names and colours of the classes on a panel, (height, W, 3) uint8, BGR."""
        line = int(np.clip(height / (len(self.classes) + 1), 14, 40))
        rows, font = max(1, height // line - 1), cv2.FONT_HERSHEY_SIMPLEX
        scale = line / 50
        names = [name.encode('ascii', 'replace').decode() for name in self.classes]
        widest = max(cv2.getTextSize(name, font, scale, 1)[0][0] for name in names)
        column = 2 * line + widest
        panel = np.full((height, column * -(-len(names) // rows) + line // 2, 3), 255, np.uint8)
        for i, name in enumerate(names):
            left, top = line // 2 + i // rows * column, line // 2 + i % rows * line
            corners = (left, top + line // 7), (left + line * 2 // 3, top + line * 6 // 7)
            cv2.rectangle(panel, *corners, self.palette[i, ::-1].tolist(), cv2.FILLED)
            at = left + line, top + line * 2 // 3
            cv2.putText(panel, name, at, font, scale, (32, 32, 32), 1, cv2.LINE_AA)
        return panel


def _input_values(facts: Mapping[str, Any]) -> np.ndarray:
    """Return the input of the network for pixels of 0 to 255 in each channel, (3, 256)."""
    values = np.arange(256, dtype=np.float32)[None].repeat(3, axis=0)
    if facts['normalised_inside']:
        types = 'uint8', 'float32'
        return values.astype(types[types.index(facts['input'])])
    mean, std = (np.array(facts[name], np.float32).reshape(3, 1) for name in ('mean', 'std'))
    return (values - mean) / std


def _largest(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize maps (C, h, w) and return the class of the largest value of each pixel, (H, W) uint8.

    Only one class is at the image's size at a time, so memory does not grow with their number.
    """
    labels = np.zeros(size, np.uint8)
    largest: Any = None
    for index, scores in enumerate(maps):
        scores = cv2.resize(scores, size[::-1], interpolation=cv2.INTER_LINEAR)
        if largest is None:
            largest = scores
        else:
            np.copyto(labels, np.uint8(index), where=scores > largest)
            np.maximum(largest, scores, out=largest)
    return labels


def _bgr(image: Any) -> np.ndarray:
    """Return an image as (H, W, 3) uint8, BGR."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or 0 in image.shape:
        kind = f'an array of {image.dtype}' if isinstance(image, np.ndarray) else repr(image)
        raise SegmentError(f'{kind} is not an image; pass uint8, (H, W, 3), BGR, or (H, W), grey')
    if image.ndim == 2:
        return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_GRAY2BGR)
    if image.ndim != 3 or image.shape[2] != 3:
        raise SegmentError(f'an image is (H, W, 3), BGR, or (H, W), grey, not {image.shape}')
    return np.ascontiguousarray(image)


# Runtimes


def load(
    path: str | os.PathLike[str],
    runtime: str | None = None,
    threads: int | None = None,
    device: str = 'cpu',
    size: Sequence[int] | None = None,
) -> Model:
    """Load an exported network.

    Args:
        path: ONNX file, or XML file of OpenVINO.
        runtime: ``onnxruntime`` or ``openvino``; by default what is installed.
        threads: CPU threads; by default the cores that this process may use.
        device: ``cpu``, a provider of ONNX Runtime such as ``cuda``, ``tensorrt`` or ``coreml``, or
            a device of OpenVINO such as ``gpu``.
        size: Height and width, for a file that takes any size.

    Raises:
        SegmentError: The file, the runtime or the device cannot be used.
    """
    path = Path(path)
    if not path.is_file():
        raise SegmentError(f'{path}: no such file')
    name = _choose_runtime(path, runtime)
    count = threads or usable_cores()
    start = _start_openvino if name == 'openvino' else _start_onnxruntime
    facts, run, version = start(_imported(name), path, count, device)
    try:
        return Model(facts, run, f'{name} {version} on {device}, {count} threads', size)
    except MetadataError as error:
        raise SegmentError(
            f'{path}: not a file that python -m engine.export wrote ({error}); export the network '
            'with it'
        ) from error
    except SegmentError as error:
        raise SegmentError(f'{path}: {error}') from error


def _choose_runtime(path: Path, wanted: str | None) -> str:
    if path.suffix.lower() == '.xml':
        if wanted not in (None, 'openvino'):
            raise SegmentError(f'{path}: only openvino runs .xml files; use --runtime openvino')
        wanted = 'openvino'
    if wanted is not None:
        if wanted not in RUNTIMES:
            raise SegmentError(f'no runtime is called {wanted}; use one of {", ".join(RUNTIMES)}')
        return wanted
    installed = [name for name in RUNTIMES if importlib.util.find_spec(name)]
    if not installed:
        raise SegmentError(
            'neither openvino nor onnxruntime is installed: python -m pip install onnxruntime'
        )
    return installed[0]


def _imported(name: str) -> Any:
    """Import a runtime, neither of which can send its use from this process."""
    # OpenVINO sends with this package, and does without where it seems to be missing.
    sys.modules['openvino_telemetry'] = None  # type: ignore[assignment]
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise SegmentError(
            f'{error.name} is not installed: python -m pip install {error.name}'
        ) from error
    except ImportError as error:
        raise SegmentError(f'{name} cannot be imported ({_first_line(error)})') from error
    if hasattr(module, 'disable_telemetry_events'):  # ONNX Runtime on Windows
        module.disable_telemetry_events()
    return module


def _start_onnxruntime(onnxruntime: Any, path: Path, threads: int, device: str) -> Any:
    """Return metadata, the function from input to output, and the version."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3  # errors only
    able = {
        name[: -len('ExecutionProvider')].lower(): name
        for name in onnxruntime.get_available_providers()
    }
    if device.lower() not in able:
        raise SegmentError(
            f'--device {device}: the installed onnxruntime has {", ".join(able)} only'
        )
    wanted = able[device.lower()]
    with _failures_of('onnxruntime', path, onnxruntime.__version__):
        providers = list(dict.fromkeys([wanted, able['cpu']]))
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    if session.get_providers()[0] != wanted:  # ONNX Runtime falls back silently
        raise SegmentError(f'--device {device}: it cannot be started on this machine; use cpu')
    name = session.get_inputs()[0].name

    def run(x: np.ndarray) -> np.ndarray:
        with _failures_of('onnxruntime', path, onnxruntime.__version__):
            return session.run(None, {name: x})[0]

    properties = session.get_modelmeta().custom_metadata_map
    facts = {key: _parsed(value) for key, value in properties.items()}
    return facts, run, onnxruntime.__version__


def _start_openvino(openvino: Any, path: Path, threads: int, device: str) -> Any:
    """Return metadata, the function from input to output, and the version."""
    version = openvino.__version__.split('-')[0]
    core = openvino.Core()
    able = core.available_devices
    if device.upper() not in able:
        raise SegmentError(f'--device {device}: openvino finds {", ".join(able)} only')
    options: dict[str, Any] = {'PERFORMANCE_HINT': 'LATENCY'}
    if device.lower() == 'cpu':  # which otherwise computes in fewer bits where it is faster
        options.update(INFERENCE_PRECISION_HINT='f32', INFERENCE_NUM_THREADS=threads)
    with _failures_of('openvino', path, version):
        network = core.read_model(str(path))
        request = core.compile_model(network, device.upper(), options).create_infer_request()
    facts = _openvino_facts(network)
    digest = facts.get('bin_sha256')
    weights = path.with_suffix('.bin')
    if digest and hashlib.sha256(weights.read_bytes()).hexdigest() != digest:
        raise SegmentError(f'{path}: {weights.name} is that of another file; copy both again')

    def run(x: np.ndarray) -> np.ndarray:
        with _failures_of('openvino', path, version):
            return request.infer([x])[0]

    return facts, run, version


def _openvino_facts(network: Any) -> dict[str, Any]:
    """Return the metadata of a network that OpenVINO has read."""
    if network.has_rt_info(['nnseg', 'metadata']):  # of an .xml file
        text = network.get_rt_info(['nnseg', 'metadata'])
        return json.loads(getattr(text, 'value', text))
    if not network.has_rt_info('framework'):  # the metadata of an ONNX file
        return {}
    found = network.get_rt_info('framework').astype(dict)
    return {key: _parsed(getattr(value, 'value', value)) for key, value in found.items()}


@contextmanager
def _failures_of(name: str, path: Path, version: str) -> Iterator[None]:
    """Turn the failures of a runtime, whose classes share no base, into one line."""
    try:
        yield
    except Exception as error:
        raise SegmentError(
            f'{path}: {name} {version} cannot run it ({_first_line(error)})'
        ) from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1 if isinstance(error, RuntimeError) else 0] if lines else type(error).__name__


def _parsed(text: Any) -> Any:
    """Return a property of a file, which is text or JSON."""
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return text


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    affinity = getattr(os, 'sched_getaffinity', None)  # not on macOS and Windows
    return len(affinity(0)) if affinity else os.cpu_count() or 1


# Files


def read_image(
    path: str | os.PathLike[str], bit_depth: int | None = None, turned: bool = True
) -> np.ndarray:
    """Read an image file, (H, W, 3) uint8, BGR.

    Args:
        path: The file.
        bit_depth: Bits of the values in files of 16 bits; None to take the 8 highest of 16.
        turned: Whether the EXIF orientation is applied.

    Raises:
        SegmentError: The file cannot be read.
    """
    path = Path(path)
    with _reading(path):
        data = path.read_bytes()
    flags = cv2.IMREAD_COLOR | (0 if turned else cv2.IMREAD_IGNORE_ORIENTATION)
    if bit_depth is not None:
        flags |= cv2.IMREAD_ANYDEPTH
    image: Any = None
    if data and not _is_cut(data):
        with suppress(cv2.error):
            image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
            if data.startswith(TIFF_HEADS):  # whose floats OpenCV would cut to whole numbers
                deep = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_ANYDEPTH)
                image = deep if deep.dtype.kind == 'f' else image
    if image is None:
        raise SegmentError(
            f'{path}: damaged, or of a format that OpenCV {cv2.__version__} does not read; save it '
            'as PNG or JPEG'
        )
    if image.dtype == np.uint16 and bit_depth is not None:
        highest = int(image.max())
        if highest >> bit_depth:
            raise SegmentError(
                f'{path}: holds the value {highest}, but the network takes {bit_depth} bits; '
                'convert the image'
            )
        image = (image >> (bit_depth - 8)).astype(np.uint8)
    if image.dtype != np.uint8:
        raise SegmentError(f'{path}: pixels of {image.dtype} are not read; save it with 8 bits')
    return image


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SegmentError(f'{path}: cannot be read ({error.strerror})') from error


def _is_cut(data: bytes) -> bool:
    """Return whether a JPEG or PNG lacks its end: OpenCV returns half an image then."""
    if data.startswith(b'\xff\xd8'):
        return data.rfind(b'\xff\xd9') < data.rfind(b'\xff\xda')
    return data.startswith(b'\x89PNG') and b'IEND' not in data


def write_image(path: Path, image: np.ndarray) -> None:
    """Write (H, W, 3) or (H, W) uint8 in the format of the ending of ``path``."""
    encoded, data = False, None
    with suppress(cv2.error):
        encoded, data = cv2.imencode(path.suffix, image)
    if not encoded or data is None:
        height, width = image.shape[:2]
        raise SegmentError(f'{path}: {path.suffix} cannot hold {width}x{height} pixels; use .png')
    write_bytes(path, data.tobytes())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file under another name first, so that no half of it stays."""
    with _part_of(path) as part:
        part.write_bytes(data)


@contextmanager
def _part_of(path: Path) -> Iterator[Path]:
    """Yield a path to write to, which replaces ``path`` when the block ends well."""
    path = Path(os.path.realpath(path))
    part = path.with_name('.part-' + path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        os.replace(part, path)
    except OSError as error:
        raise SegmentError(f'{path}: cannot be written ({error.strerror})') from error
    finally:
        with suppress(OSError):
            part.unlink()


def palette_png(labels: np.ndarray, palette: np.ndarray) -> bytes:
    """Return a PNG whose pixels are class indices, and whose palette has their colours.

    Args:
        labels: (H, W) uint8, class indices.
        palette: (classes, 3) uint8, red, green and blue.
    """

    def chunk(kind: bytes, data: bytes) -> bytes:
        content = kind + data
        return struct.pack('>I', len(data)) + content + struct.pack('>I', zlib.crc32(content))

    height, width = labels.shape
    rows = np.pad(labels, ((0, 0), (1, 0)))  # each row begins with its filter, 0 for none
    header = struct.pack('>IIBBBBB', width, height, 8, 3, 0, 0, 0)  # 8 bits, with a palette
    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', header)
        + chunk(b'PLTE', palette.tobytes())
        + chunk(b'IDAT', zlib.compress(rows.tobytes()))
        + chunk(b'IEND', b'')
    )


class VideoReader:
    """The frames of a video, (H, W, 3) uint8, BGR, upright.

    Attributes:
        rate: Frames per second.
        promised: Number of frames in the header; 0 if it states none.
    """

    def __init__(self, path: Path):
        with _reading(path), open(path, 'rb') as file:
            head = file.read(16).lstrip()
        if head.startswith((b'#', b'ffconcat')):  # FFmpeg would open the files that it names
            raise SegmentError(f'{path}: a list of other files; name these instead')
        self._path, self._capture = path, cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise SegmentError(
                f'{path}: damaged, or not a video that OpenCV reads; convert it into MP4'
            )
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 0.01 <= rate <= 65535 else USUAL_RATE
        self.promised = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def __iter__(self) -> Iterator[np.ndarray]:
        count = 0
        while True:
            there, frame = self._capture.read()
            if not there:
                break
            count += 1
            yield frame
        self._capture.release()
        if not count:
            raise SegmentError(f'{self._path}: no frame can be read')


@contextmanager
def video_writer(path: Path, rate: float) -> Iterator[Callable[[np.ndarray], None]]:
    """Yield a function that appends frames to a new video; its ending selects the codec."""
    writer: Any = None
    count = 0
    with _part_of(path) as part:

        def append(frame: np.ndarray) -> None:
            nonlocal writer, count
            odd = [(0, side % 2) for side in frame.shape[:2]]  # codecs need even sides
            frame = np.pad(frame, [*odd, (0, 0)], mode='edge')
            height, width = frame.shape[:2]
            if writer is None:
                codec = cv2.VideoWriter_fourcc(*CODECS[path.suffix.lower()])  # type: ignore[attr-defined]
                writer = cv2.VideoWriter(str(part), codec, rate, (width, height))
                if not writer.isOpened():
                    raise SegmentError(
                        f'{path}: this OpenCV cannot write {path.suffix} of {width}x{height} '
                        'pixels; use another ending, such as .avi'
                    )
            writer.write(frame)
            count += 1

        try:
            yield append
        finally:
            if writer is not None:
                writer.release()
        if _frames_in(part) < count:
            raise SegmentError(f'{path}: cannot be written completely; is the disk full?')


def _frames_in(path: Path) -> int:
    """Count the frames of a video; the header, which FFmpeg writes first, does not prove them."""
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.grab():
        count += 1
    return count


def is_video(path: Path) -> bool:
    """Return whether a name ends as that of a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def find_inputs(names: Sequence[str], results: Path | None) -> dict[Path, Path]:
    """Return the images and videos that are named, each with its path in the folder of results.

    Args:
        names: Files, folders, which are searched with all below them, and patterns.
        results: Folder of results, in which nothing is searched.

    Raises:
        SegmentError: A name stands for nothing.
    """
    found: list[Path] = []
    roots: list[str] = []
    for name in names:
        path = Path(name).expanduser()
        if path.is_dir():
            known = sorted(_in_folder(path, results))
            if not known:
                raise SegmentError(f'{path}: no image or video in this folder')
            roots.append(os.path.abspath(path))
        else:
            known = (
                [path]
                if path.exists()
                else [
                    Path(p)
                    for p in sorted(glob.glob(str(path), recursive=True))
                    if os.path.isfile(p)
                ]
            )
            if not known:
                raise SegmentError(f'{path}: no such file or folder')
            roots += [os.path.dirname(os.path.abspath(p)) for p in known]
        found += known
    try:
        root = os.path.commonpath(roots)
    except ValueError as error:
        raise SegmentError('-i: files of several drives; name those of one at a time') from error
    once = {os.path.realpath(path): path for path in found}
    return {path: Path(os.path.relpath(os.path.abspath(path), root)) for path in once.values()}


def _in_folder(folder: Path, results: Path | None) -> Iterator[Path]:
    skipped = None if results is None else os.path.realpath(results)
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if os.path.realpath(Path(place, name)) != skipped]
        for name in files:
            path = Path(place, name)
            # A pipe would be waited for without end.
            if path.suffix.lower() in IMAGE_SUFFIXES + VIDEO_SUFFIXES and path.is_file():
                yield path


def plan_outputs(
    names: Sequence[str], output: str | None
) -> tuple[list[tuple[Path, Path]], Path | None]:
    """Choose the picture of each input, under the name that infer.py would choose.

    Args:
        names: Files, folders and patterns.
        output: The picture of a single file, or the folder of several; None for the default.

    Returns:
        Pairs of input and picture, and the folder of the pictures; None for a single file.

    Raises:
        SegmentError: An input is missing, or the folder is a file.
    """
    if len(names) == 1 and Path(names[0]).expanduser().is_file():
        (source,) = find_inputs(names, None)
        target = Path(output or 'result' + _ending(source))
        if target.is_dir() or (output or '').endswith(('/', os.sep)):
            target = target / (source.stem + _ending(source))
        return [(source, target)], None
    folder = Path(output or 'results')
    inputs = find_inputs(names, folder)
    if folder.exists() and not folder.is_dir():
        raise SegmentError(f'-o {folder}: is a file; several results need a folder')
    stems = Counter(relative.with_suffix('') for relative in inputs.values())
    pairs = []
    for source, relative in inputs.items():
        name = relative.stem if stems[relative.with_suffix('')] == 1 else relative.name
        pairs.append((source, folder / relative.with_name(name + _ending(source))))
    return pairs, folder


def _ending(source: Path) -> str:
    return '.mp4' if is_video(source) else '.jpg'


def check_outputs(
    pairs: Sequence[tuple[Path, Path]], endings: Sequence[str], model_path: str
) -> None:
    """Raise ``SegmentError`` for a result that cannot be written, or would replace another file.

    Args:
        pairs: Inputs and their pictures.
        endings: Endings of the class maps beside each picture.
        model_path: File of the network.
    """
    taken = {os.path.realpath(path) for path in [Path(model_path), *(pair[0] for pair in pairs)]}
    for source, target in pairs:
        planned = [target]
        if not is_video(source):
            if not target.suffix or not cv2.haveImageWriter(target.name):
                raise SegmentError(f'-o {target}: OpenCV writes no such images; use .jpg or .png')
            planned += [map_path(target, ending) for ending in endings]
        elif target.suffix.lower() not in CODECS:
            raise SegmentError(f'-o {target}: videos are written as {", ".join(CODECS)}')
        for path in planned:
            real = os.path.realpath(path)
            if real in taken:
                raise SegmentError(
                    f'{path}: would replace an input or another result; name another place with -o'
                )
            if os.path.exists(real) and not os.path.isfile(real):
                raise SegmentError(f'{path}: is not a file; name another place with -o')
            taken.add(real)


def map_path(picture: Path, ending: str) -> Path:
    """Return the path of a class map beside a picture."""
    return picture.with_name(picture.stem + ending)


# The command line


class Looks:
    """What is written for each image, from the options of the command line."""

    def __init__(self, model: Model, options: argparse.Namespace):
        self._model, self._options = model, options

    def picture(self, image: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Return an image in the colours of its classes, with a legend if it is wanted."""
        picture = self._model.overlay(image, labels, self._options.opacity)
        if not self._options.legend:
            return picture
        return np.hstack((picture, self._model.legend(len(picture))))

    def write_maps(self, labels: np.ndarray, picture: Path) -> None:
        """Write the class maps that the options ask for beside a picture."""
        if self._options.save_labels:
            write_image(map_path(picture, LABELS_ENDING), labels)
        if self._options.save_color:
            data = palette_png(labels, self._model.palette)
            write_bytes(map_path(picture, COLOR_ENDING), data)


def segment_image(model: Model, source: Path, target: Path, looks: Looks) -> np.ndarray:
    """Segment an image file, write its picture, and return its labels."""
    with _hidden_c_output():
        image = model.read(source)
    labels = model(image)
    write_image(target, looks.picture(image, labels))
    looks.write_maps(labels, target)
    return labels


@contextmanager
def _hidden_c_output() -> Iterator[None]:
    """Hide the lines that libpng and other libraries print about damaged files."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def segment_video(model: Model, source: Path, target: Path, looks: Looks) -> str:
    """Segment a video and return what is wrong with it, or nothing."""
    reader, count = VideoReader(source), 0
    with video_writer(target, reader.rate) as append:
        for frames in _chunks(reader, model.batch or 1):
            for frame, labels in zip(frames, model.segment(frames)):
                count += 1
                append(looks.picture(frame, labels))
                looks.write_maps(labels, target.with_suffix('') / f'{count:08d}.png')
            _show_progress(count, reader.promised, 'frames')
    if count < int(reader.promised * 0.9):  # some headers estimate the number
        return f'{source}: its header promises {reader.promised} frames, {count} can be read'
    return ''


def _chunks(items: Iterator[np.ndarray] | VideoReader, size: int) -> Iterator[list[np.ndarray]]:
    chunk: list[np.ndarray] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def segment_files(
    model: Model, pairs: Sequence[tuple[Path, Path]], folder: Path | None, looks: Looks
) -> int:
    """Segment all files, print a summary, and return the exit status."""
    started, failed, labels = time.monotonic(), 0, None
    for number, (source, target) in enumerate(pairs, 1):
        try:
            problem = ''
            if is_video(source):
                problem = segment_video(model, source, target, looks)
            else:
                labels = segment_image(model, source, target, looks)
        except SegmentError as error:
            if folder is None:
                raise
            problem = str(error)
        if problem:
            failed += 1
            print(f'error: {shown(problem)}', file=sys.stderr)
        if folder is not None:
            _show_progress(number, len(pairs), 'files')
    seconds = time.monotonic() - started
    if folder is None:
        print(f'{shown(pairs[0][1])} written in {seconds:.1f} s')
        if labels is not None:
            shares = np.bincount(labels.ravel(), minlength=len(model.classes)) / labels.size
            for share, name in sorted(zip(-shares, model.classes), key=lambda pair: pair[0]):
                if share:
                    print(f'{-share:7.1%}  {shown(name)}')
    else:
        done = len(pairs) - failed
        print(
            f'{done} of {len(pairs)} files written to {shown(folder)} in {seconds:.1f} s '
            f'({done / seconds:.2f} per second)'
            + (f', {failed} could not be used' if failed else '')
        )
    return SOME_FAILED if failed else DONE


def _show_progress(done: int, total: int, unit: str) -> None:
    if sys.stderr.isatty():
        print(f'\r{done} of {total or "?"} {unit}', end='\r', file=sys.stderr, flush=True)


def benchmark(model: Model, image: np.ndarray, runs: int) -> dict[str, np.ndarray]:
    """Time the network alone, and the whole from an image in memory to its labels.

    Args:
        model: The network.
        image: (H, W, 3) uint8, BGR; a network for several images takes it several times.
        runs: Number of timed runs, after ``WARM_UP_RUNS`` others.

    Returns:
        Milliseconds of each run, by what was timed.
    """
    images = [image] * (model.batch or 1)
    times: dict[str, list[float]] = {'network': [], 'whole': []}
    for _ in range(WARM_UP_RUNS + runs):
        started = time.perf_counter()
        x = model.prepare(images)
        prepared = time.perf_counter()
        output = model.run(x)
        computed = time.perf_counter()
        model.labels(output, images)
        times['network'].append(computed - prepared)
        times['whole'].append(time.perf_counter() - started)
    return {name: 1000 * np.array(values[WARM_UP_RUNS:]) for name, values in times.items()}


def print_benchmark(model: Model, path: str, image: np.ndarray, name: str, runs: int) -> None:
    """Run the benchmark and print its table, with what was timed and where."""
    count, facts = model.batch or 1, model.facts
    size = 'x'.join(map(str, model.size)) if model.size else "the image's size"
    print(f'{shown(path)}: {shown(facts.get("network", "?"))}, {facts["output"]} of {size}')
    print(
        f'{model.runtime}; numpy {np.__version__}, OpenCV {cv2.__version__}, '
        f'Python {platform.python_version()}'
    )
    print(f'{shown(cpu_name())}, {usable_cores()} cores; {platform.platform()}')
    height, width = image.shape[:2]
    batches = f' in batches of {count}' if count > 1 else ''
    print(f'{shown(name)}, {width}x{height} pixels{batches}')
    print('whole: resizing, normalisation, network, and the class of every pixel of the image')
    print(f'{runs} runs after {WARM_UP_RUNS} others')
    print(f'\n{"":10}{"p50 ms":>10}{"p95 ms":>10}{"mean ms":>10}{"frames/s":>10}')
    for part, times in benchmark(model, image, runs).items():
        middle, high = np.percentile(times, (50, 95))
        mean = times.mean()
        rate = 1000 * count / mean
        print(f'{part:10}{middle:10.2f}{high:10.2f}{mean:10.2f}{rate:10.2f}')


def cpu_name() -> str:
    """Return the name of the processor or of the board."""
    for place in ('/proc/device-tree/model', '/proc/cpuinfo'):  # a board, such as a Jetson; Linux
        with suppress(OSError):
            text = Path(place).read_text(encoding='utf-8', errors='replace')
            if place.endswith('model'):
                return text.strip('\0\n ')
            for line in text.splitlines():
                if line.startswith('model name'):
                    return line.partition(':')[2].strip()
    if sys.platform == 'darwin':
        with suppress(OSError, subprocess.SubprocessError):
            command = ['sysctl', '-n', 'machdep.cpu.brand_string']
            return subprocess.check_output(command, text=True).strip()
    return platform.processor() or platform.machine()


def shown(text: object) -> str:
    """Return text that cannot control a terminal."""
    return ''.join(c if c.isprintable() else f'\\x{ord(c):02x}' for c in str(text))


def parse_size(text: str) -> tuple[int, int]:
    """Return height and width of ``HxW``."""
    height, _, width = text.partition('x')
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f'{text}: write HxW, such as 512x1024')
    return int(height), int(width)


def parse_count(text: str) -> int:
    """Return a whole number of at least 1."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f'{text}: write a whole number of at least 1')
    return int(text)


def parse_opacity(text: str) -> float:
    """Return a number above 0 and at most 1."""
    with suppress(ValueError):
        if 0 < float(text) <= 1:
            return float(text)
    raise argparse.ArgumentTypeError(f'{text}: write a number above 0 and at most 1')


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise SegmentError(f'{message}; --help lists the options')


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = _Parser(
        prog='segment.py',
        description='Segment images and videos with a network that python -m engine.export wrote.',
    )
    add = parser.add_argument
    add('model', metavar='MODEL', help='the exported network, .onnx, or .xml of OpenVINO')
    add(
        '-i', '--input', nargs='+', action='extend', default=[], metavar='FILE',
        help='an image, a video, a folder or a quoted pattern; accepts several',
    )  # fmt: skip
    add(
        '-o', '--output', metavar='PATH',
        help='picture of a single input (default: result.jpg), '
        'or folder of several (default: results)',
    )  # fmt: skip
    add(
        '--opacity', type=parse_opacity, default=0.5, metavar='X',
        help='opacity of the class colours, above 0 and at most 1 (default: %(default)s)',
    )  # fmt: skip
    add('--legend', action='store_true', help='draw class names and colours beside the picture')
    add('--save-labels', action='store_true', help='write class indices to <picture>_labels.png')
    add(
        '--save-color', action='store_true',
        help='write class indices with a colour palette to <picture>_color.png',
    )  # fmt: skip
    add(
        '--size', type=parse_size, metavar='HxW',
        help="size for a network that takes any (default: the image's)",
    )  # fmt: skip
    add('--runtime', choices=RUNTIMES, help='what computes the network (default: what is there)')
    add(
        '--device', default='cpu', metavar='NAME',
        help='cpu, a provider of onnxruntime such as cuda, tensorrt or coreml, or a device of '
        'openvino such as gpu (default: %(default)s)',
    )  # fmt: skip
    add('--threads', type=parse_count, metavar='N', help='CPU threads (default: all cores)')
    add(
        '--benchmark', nargs='?', type=parse_count, const=BENCHMARK_RUNS, metavar='N',
        help='print times of N runs (default: %(const)s) instead of writing pictures',
    )  # fmt: skip
    return parser


def run_options(options: argparse.Namespace) -> int:
    """Do what the options of the command line say and return the exit status."""
    if options.benchmark:
        if options.output:
            raise SegmentError('--benchmark writes no pictures; leave out -o')
        model = _loaded(options)
        image, name = _benchmark_image(model, options.input)
        print_benchmark(model, options.model, image, name, options.benchmark)
        return DONE
    if not options.input:
        raise SegmentError('nothing to segment: name files, folders or patterns with -i')
    endings = [LABELS_ENDING] * options.save_labels + [COLOR_ENDING] * options.save_color
    pairs, folder = plan_outputs(options.input, options.output)
    check_outputs(pairs, endings, options.model)
    model = _loaded(options)
    return segment_files(model, pairs, folder, Looks(model, options))


def _loaded(options: argparse.Namespace) -> Model:
    model = load(options.model, options.runtime, options.threads, options.device, options.size)
    # The size of the file, or --size, takes the place of scales and short sides.
    others = ['flip', 'window'] + ['scales', 'short_sides'] * (model.size is None)
    views = {name: model.protocol[name] for name in others if name in model.protocol}
    if views:
        print(
            f'note: infer.py would show images to this network with {shown(json.dumps(views))}; '
            'here it sees each image once',
            file=sys.stderr,
        )
    return model


def _benchmark_image(model: Model, names: Sequence[str]) -> tuple[np.ndarray, str]:
    """Return the first image or frame that is named, else noise, and its name."""
    if not names:
        size = model.size or (512, 1024)
        return np.random.RandomState(0).randint(0, 256, (*size, 3), np.uint8), 'noise'
    path = next(iter(find_inputs(names, None)))
    return next(iter(VideoReader(path))) if is_video(path) else model.read(path), path.name


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; explain mistakes in one line."""
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    if hasattr(cv2, 'setLogLevel'):
        cv2.setLogLevel(0)
    for name in ('stdout', 'stderr'):
        if getattr(sys, name) is None:  # closed by the caller, or pythonw on Windows
            setattr(sys, name, open(os.devnull, 'w'))  # noqa: SIM115, open to the end
        stream = getattr(sys, name)
        if hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')
    try:
        status = run_options(build_parser().parse_args(arguments))
        sys.stdout.flush()
        return status
    except SegmentError as error:
        text = str(error)
    except BrokenPipeError:  # as after | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except OSError as error:
        text = f'{error.filename}: {error.strerror}' if error.filename else str(error)
    except MemoryError:
        text = 'not enough memory; use smaller images, or leave more memory to this program'
    except KeyboardInterrupt:
        return INTERRUPTED
    print(f'error: {shown(text)}', file=sys.stderr)
    return MISTAKE


if __name__ == '__main__':
    sys.exit(main())
