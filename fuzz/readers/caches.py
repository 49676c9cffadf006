"""The caches: compiled networks, scans of labels, findings about the CUDA extension."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import datasets
from common.writing import cache_entries
from datasets.label_scan import ScanCache, scan_labels
from engine.backends.disk_cache import CacheKey, DiskCache
from engine.device.extension import findings
from fuzz.inputs import Content, Reader, one_file
from fuzz.mutators import texts
from fuzz.readers.pictures import png, smooth
from fuzz.readers.scratch import folder_written

_VERSIONS = {'openvino': '2025.1', 'nnseg': '0.3.0'}
_KEYS = tuple(CacheKey(f'd3net-{n}x64-openvino', {'weights': 'a.h5'}, _VERSIONS) for n in (32, 64))
_MISS = 'not in the cache'


def _backends(rng: np.random.Generator) -> list[Content]:
    payloads = [rng.bytes(300) for _ in _KEYS]

    def write(folder: Path) -> None:
        for key, payload in zip(_KEYS, payloads):
            DiskCache(folder).write(key, payload, {'agreement': '1e-6 of logits up to 9'})

    files = folder_written(write)
    target = next(name for name in files if name.startswith(_KEYS[0].name))

    def right(value: Any) -> bool:
        return value != _MISS and value[0] == payloads[0]

    other = next(name for name in files if name != target)
    exchanged = Content({target: files[other]}, target, '', lambda value: value == _MISS, True)
    return [Content(files, target, '', right, keeps_name=True), exchanged]


def _read_backend(root: Path) -> Any:
    cache = DiskCache(root)
    found = cache.read(_KEYS[0])
    cache.has(_KEYS[0])
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
    """Store a scan in the cache, put the damaged facts in its place, and load it."""
    dataset = datasets.open('folder', root / 'data', 'train')
    cache = ScanCache(dataset, skip_bad=False)
    cache.store(scan_labels(dataset))
    (stored,) = (root / 'cache' / 'labels').iterdir()
    _store(stored, (root / 'scan.json').read_bytes())
    found = cache.load()
    return [] if found is None else [found.labels, found.missing_classes(dataset.info)]


def _store(path: Path, content: bytes) -> None:
    """Write facts as a whole entry, and what is no JSON as it is."""
    try:
        facts = json.loads(content)
    except (ValueError, RecursionError):
        facts = None
    if isinstance(facts, dict):
        cache_entries.write(path, facts)
    else:
        path.write_bytes(content)


def _findings(rng: np.random.Generator) -> list[Content]:
    found = findings.Findings(mpi_version='Open MPI v5', registered=('cuda:float',))
    document = {'findings': asdict(found), 'stamps': []}

    def right(value: Any) -> bool:
        return value == found.communicator

    return [one_file('findings.json', json.dumps(document).encode(), right)]


def _read_findings(path: Path) -> str | None:
    entry = path.parent / 'cache' / 'entry'
    cache_entries.make_folder(entry.parent)
    _store(entry, path.read_bytes())
    found = findings.read(entry)
    return None if found is None else found.communicator


READERS = (
    Reader('backend_cache', _backends, _read_backend, texts.OF_JSON, True, _or_miss, share=4),
    Reader('label_scan', _scans, _read_scan, texts.OF_JSON, share=2),
    Reader('findings', _findings, _read_findings, texts.OF_JSON),
)
