"""The metadata of exported files: all that a program without this project needs to use them.

``docs/export.md`` documents the keys; ``runtime/segment.py`` uses nothing else.
"""

from collections.abc import Mapping
from typing import Any

import nnabla as nn

from common import __version__
from datasets.info import IGNORE
from engine.export.spec import INPUT, KINDS, NORMALISED, ExportSpec, output_names
from engine.inference.exported_file import ANY
from models import Network, NetworkInfo

LAYOUT = 'NCHW'
PIXEL_RANGE = (0, 255)  # of the pixels that mean and std refer to
INPUT_MEANINGS = {
    NORMALISED: 'float32, (x - mean) / std of every channel, for pixels x from 0 to 255; '
    'the file does not normalise',
    'float32': 'float32, pixels from 0 to 255; the file computes (x - mean) / std itself',
    'uint8': 'uint8, pixels from 0 to 255; the file computes (x - mean) / std itself',
}
RESIZING = (
    "both sides to size, aspect ratio or not, on uint8 pixels: OpenCV's INTER_AREA if size has "
    'fewer pixels than the image, else INTER_LINEAR'
)
PADDING = (
    'instead, where the sides of the image, at least smallest_size and rounded up to multiples of '
    'size_divisor, are size: pad_value below and on the right; cut the output'
)
OUTPUT_RESIZING = (
    "bilinear, pixel centres at half integers, edges repeated (OpenCV's INTER_LINEAR on float32), "
    'in one step from maps to the size of the image, before the argmax'
)


ANY_SIZE_RESIZING = 'none: the file takes images of every size that padding gives'
ANY_SIZE_PADDING = (
    'sides of the image are rounded up to multiples of size_divisor, at least smallest_size: '
    'pad_value below and on the right; cut the output'
)


def describe_tasks(info: NetworkInfo, spec: ExportSpec) -> dict[str, Any]:
    """Return the facts about several inputs or tasks; none of a network with one of each."""
    names = output_names(info, spec)
    if info.inputs == 1 and names == [spec.kind]:
        return {}
    return {
        'inputs': info.inputs,
        'tasks': [
            {
                'name': task.name,
                'output': name,
                'kind': task.kind,
                'channels': task.channels,
                'range': None if task.range is None else list(task.range),
            }
            for name, task in zip(names, info.tasks)
        ],
    }


def describe_file(
    network: Network, size: tuple[int, int], spec: ExportSpec, further: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the metadata of an exported file.

    Args:
        network: Network that the file computes.
        size: Height and width of the file's input, unless its size is free.
        spec: Specification of input and output.
        further: Facts beyond those of the network, such as the names of its classes.
    """
    info = network.info
    inside = spec.pixels != NORMALISED
    pad_value = list(info.mean) if inside else [0.0] * len(info.mean)
    return {
        'network': network.name,
        'paper': info.paper,
        'input': spec.pixels,
        'input_name': INPUT,
        'input_means': INPUT_MEANINGS[spec.pixels],
        'layout': LAYOUT,
        'channel_order': info.channel_order,
        'normalised_inside': inside,
        'pixel_range': list(PIXEL_RANGE),
        'mean': list(info.mean),
        'std': list(info.std),
        'size': ANY if spec.free_size else list(size),
        'batch': spec.batch or ANY,
        'size_divisor': info.size_divisor,
        'smallest_size': info.smallest_size,
        'resizing': ANY_SIZE_RESIZING if spec.free_size else RESIZING,
        'padding': ANY_SIZE_PADDING if spec.free_size else PADDING,
        'pad_value': [round(v) for v in pad_value] if spec.pixels == 'uint8' else pad_value,
        **describe_tasks(info, spec),
        'output': spec.kind,
        'output_means': KINDS[spec.kind],
        'output_resizing': OUTPUT_RESIZING,
        'num_classes': info.num_classes,
        'ignore_label': IGNORE,
        'precision': spec.precision,
        'versions': {'nnseg': __version__, 'nnabla': nn.__version__},
        **further,
    }
