"""Label files: PNG masks of all kinds, strict label files, and a user's own folder."""

import struct
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from datasets.readers import cocostuff10k, folder, label_files, mask_files
from fuzz.inputs import Content, Reader, one_file
from fuzz.mutators import pictures as picture_damage
from fuzz.mutators import texts as text_damage
from fuzz.readers.pictures import HEIGHT, WIDTH, png, saved

_COLOURS = ((128, 64, 128), (70, 70, 70), (0, 0, 142), (220, 20, 60))
# Types of elements in a MAT-file, and the class of an array of uint8.
_INT8, _UINT8, _INT32, _UINT32, _MATRIX, _COMPRESSED, _CLASS_OF_UINT8 = 1, 2, 5, 6, 14, 15, 9
_DESCRIPTION = b"""classes:
  road: [128, 64, 128]
  building: [70, 70, 70]
  car: [0, 0, 142]
  person: [220, 20, 60]
ignore: [255, [0, 0, 0]]
images: images
labels: labels
label_suffix: _L
"""


def _labels(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, len(_COLOURS), (HEIGHT, WIDTH), dtype=np.uint8)


def _with_palette(labels: np.ndarray) -> bytes:
    image = Image.fromarray(labels, mode='P')
    image.putpalette([value for colour in _COLOURS for value in colour])
    return saved(image, format='PNG')


def _label_files(rng: np.random.Generator) -> list[Content]:
    labels = _labels(rng)
    right = partial(np.array_equal, labels)
    return [
        one_file('grey.png', png(labels, 8), right),
        one_file('interlaced.png', png(labels, 8, interlaced=True), right),
        one_file('palette.png', _with_palette(labels), right),
    ]


def _mask_files(rng: np.random.Generator) -> list[Content]:
    labels = _labels(rng)
    colours = np.array(_COLOURS, np.uint8)[labels]
    opaque = np.full(labels.shape, 255, np.uint8)

    def values(mask: mask_files.Mask) -> bool:
        return mask.values is not None and np.array_equal(mask.values, labels)

    def shows(mask: mask_files.Mask) -> bool:
        return mask.colours is not None and np.array_equal(mask.colours, colours)

    return [
        one_file('grey.png', png(labels, 8), values),
        one_file('two_bits.png', png(labels, 2), values),
        one_file('two_bits_interlaced.png', png(labels, 2, interlaced=True), values),
        one_file('sixteen_bits.png', png(labels.astype(np.uint16), 16), values),
        one_file('palette.png', _with_palette(labels), values),
        one_file('grey_alpha.png', png(np.dstack([labels, opaque]), 8), values),
        one_file('rgb.png', png(colours, 8), shows),
        one_file('rgba.png', png(np.dstack([colours, opaque]), 8), shows),
        one_file('rgb_sixteen_bits.png', png(colours.astype(np.uint16), 16), shows),
    ]


def _read_mask(path: Path) -> mask_files.Mask:
    return mask_files.read(path)


def _mask_parts(mask: mask_files.Mask) -> list[Any]:
    return [[mask.values, mask.colours, mask.shown, mask.has_palette, mask.is_rgb, mask.bits]]


def _colour_labels(rng: np.random.Generator) -> list[Content]:
    colours = np.array(_COLOURS, np.uint8)[_labels(rng)]
    opaque = np.full(colours.shape[:2], 255, np.uint8)
    right = partial(np.array_equal, colours)
    return [
        one_file('rgb.png', png(colours, 8), right),
        one_file('interlaced.png', png(colours, 8, interlaced=True), right),
        one_file('rgba.png', png(np.dstack([colours, opaque]), 8), right),
    ]


def _mat_files(rng: np.random.Generator) -> list[Content]:
    """Return annotations as COCO-Stuff 10k has them: 0 is unlabelled, the classes follow."""
    labels = rng.integers(1, 11, (HEIGHT, WIDTH), dtype=np.uint8)
    shape, flags = struct.pack('<ii', *labels.shape), struct.pack('<II', _CLASS_OF_UINT8, 0)
    parts = ((_UINT32, flags), (_INT32, shape), (_INT8, b'S'), (_UINT8, labels.tobytes('F')))
    matrix = _mat_element(_MATRIX, b''.join(_mat_element(*part) for part in parts))
    packed = zlib.compress(matrix)
    header = b'MATLAB 5.0 MAT-file'.ljust(124) + struct.pack('<H', 0x100) + b'IM'
    whole = {
        'plain.mat': header + matrix,
        'compressed.mat': header + struct.pack('<II', _COMPRESSED, len(packed)) + packed,
    }
    return [
        one_file(name, data, lambda found: found.shape == labels.shape)
        for name, data in whole.items()
    ]


def _mat_element(kind: int, data: bytes) -> bytes:
    """Return an element of a MAT-file: type, length and content, which is padded to 8 bytes."""
    return struct.pack('<II', kind, len(data)) + data + bytes(-len(data) % 8)


def _folders(rng: np.random.Generator, target: str) -> list[Content]:
    labels = _labels(rng)
    files = {
        'dataset.yaml': _DESCRIPTION,
        'images/a.png': png(np.array(_COLOURS, np.uint8)[labels], 8),
        'labels/a_L.png': png(np.array(_COLOURS, np.uint8)[labels], 8),
    }
    indices = {**files, 'labels/a_L.png': png(labels, 8)}

    def right(value: list[Any]) -> bool:
        return np.array_equal(value[0], labels)

    return [Content(each, target, '', right, keeps_name=True) for each in (files, indices)]


def _read_folder(root: Path) -> list[Any]:
    """Return the labels of all samples, and what they say about the others."""
    decode = folder.decoder(root)
    samples = folder.find(root, 'train').samples
    results = [decode.read(sample.label) for sample in samples if sample.label]
    facts = {fact: (1, 'labels/a_L.png') for _, fact in results}
    problems = [text for _, text in decode.problems(facts, {})]
    return [*(labels for labels, _ in results), folder.info(root).classes, problems]


READERS = (
    Reader(
        'label_files', _label_files, label_files.read_indices, picture_damage.OF_PNG,
        has_checksums=True, share=4,
    ),
    Reader(
        'colour_labels', _colour_labels, label_files.read_colours, picture_damage.OF_PNG,
        has_checksums=True, share=2,
    ),
    Reader('mat_files', _mat_files, cocostuff10k.decode, share=2),
    Reader(
        'mask_files', _mask_files, _read_mask, picture_damage.OF_PNG,
        has_checksums=True, parts=_mask_parts, share=4,
    ),
    Reader(
        'own_masks', partial(_folders, target='labels/a_L.png'), _read_folder,
        picture_damage.OF_PNG, has_checksums=True, share=2,
    ),
    Reader(
        'dataset_yaml', partial(_folders, target='dataset.yaml'), _read_folder,
        text_damage.OF_YAML, share=4,
    ),
)  # fmt: skip
