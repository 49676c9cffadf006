"""The caches: compiled networks, scans of labels, findings about the CUDA extension."""

import json
from pathlib import Path
from typing import Any

import numpy as np

import datasets
from datasets.label_scan import ScanCache, scan_labels
from engine.backends.disk_cache import DiskCache
from engine.device.extension import findings
from fuzz.inputs import Content, Reader
from fuzz.mutators import texts
from fuzz.readers.pictures import png, smooth
from fuzz.readers.scratch import folder_written

_VERSIONS = {'openvino': '2025.1', 'nnseg': '0.3.0'}
_NAME = 'd3net-32x64-openvino-float32-0123456789abcdef'
_MISS = 'not in the cache'


def _backends(rng: np.random.Generator) -> list[Content]:
    payloads = {_NAME: rng.bytes(300), _NAME.replace('32x64', '64x64'): rng.bytes(300)}

    def write(folder: Path) -> None:
        cache = DiskCache(folder)
        for name, payload in payloads.items():
            cache.write(name, _VERSIONS, payload, {'agreement': '1e-6 of logits up to 9'})

    files = folder_written(write)
    target = next(name for name in files if name.startswith(_NAME))

    def right(value: Any) -> bool:
        return value != _MISS and value[0] == payloads[_NAME]

    return [Content(files, target, '', right, keeps_name=True)]


def _read_backend(root: Path) -> Any:
    found = DiskCache(root).read(_NAME, _VERSIONS)
    DiskCache(root).has(_NAME, _VERSIONS)
    return _MISS if found is None else found


def _or_miss(value: Any) -> list[Any]:
    """Return no part for a miss, which is right for anything odd."""
    return [] if value is _MISS or value == _MISS else [value]


def _scans(rng: np.random.Generator) -> list[Content]:
    labels = rng.integers(0, 2, (12, 17), dtype=np.uint8)
    data = {
        'data/dataset.yaml': b'classes: [road, car]\n',
        'data/images/a.png': png(smooth(rng), 8),
        'data/labels/a.png': png(labels, 8),
    }
    counts = np.bincount(labels.ravel(), minlength=256).tolist()
    document = {'labels': 1, 'pixels': counts, 'images': counts, 'facts': {}}

    def right(value: Any) -> bool:
        return bool(value)

    return [
        Content({**data, 'scan.json': json.dumps(document).encode()}, 'scan.json', '', right, True)
    ]


def _read_scan(root: Path) -> Any:
    """Store the scan in the cache, put the damaged one in its place, and load it."""
    dataset = datasets.open('folder', root / 'data', 'train')
    cache = ScanCache(dataset, skip_bad=False)
    scan = scan_labels(dataset)
    cache.store(scan)
    (stored,) = (root / 'cache' / 'labels').iterdir()
    damaged = (root / 'scan.json').read_bytes()
    stored.write_bytes(damaged)
    found = cache.load()
    return [] if found is None else [found.labels, found.missing_classes(dataset.info)]


def _findings(rng: np.random.Generator) -> list[Content]:
    found = findings.Findings(mpi_version='Open MPI v5', registered=('cuda:float',))
    files = folder_written(lambda folder: findings.write(folder / 'x.json', found))

    def right(value: Any) -> bool:
        return value == found.communicator

    return [Content(files, 'x.json', 'x.json', right, keeps_name=True)]


def _read_findings(path: Path) -> str | None:
    found = findings.read(path)
    return None if found is None else found.communicator


READERS = (
    Reader('backend_cache', _backends, _read_backend, texts.OF_JSON, True, _or_miss, share=4),
    Reader('label_scan', _scans, _read_scan, texts.OF_JSON, share=2),
    Reader('findings', _findings, _read_findings, texts.OF_JSON),
)
