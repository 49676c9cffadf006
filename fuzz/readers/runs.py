"""The folder of a training run, and packed data sets."""

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import datasets
from datasets.loading import pack
from engine.report import records, summary
from engine.runs.log_file import LOG_FILE
from engine.runs.series import LOSS, RATE, SCORE, TIME, VALIDATIONS, read_series, series_path
from fuzz.inputs import Content, Reader
from fuzz.mutators import texts
from fuzz.readers.pictures import png, smooth

_ROWS = {
    LOSS: ['10 1.5', '20 1.25'],
    RATE: ['10 0.01', '20 0.005'],
    SCORE: ['20 55.5'],
    TIME: ['10 1.5 10 1.5', '20 1.5 10 3.0'],
}


def _run_files() -> dict[str, bytes]:
    entry = {
        'iteration': 20,
        'miou': 55.5,
        'pixel_accuracy': 90.25,
        'classes': {'road': 60.5, 'car': None},
        'images': 3,
        'origin': 'val of folder',
    }
    config = b'network: d3net\nnum_classes: 2\nmax_iter: 100\nlr: 0.01\ndataset: folder\n'
    log = b'2024-01-01 10:00:00 INFO iteration 20/100 | loss 1.25\n'
    series = {
        series_path(Path(), name).name: '\n'.join([*rows, '']).encode()
        for name, rows in _ROWS.items()
    }
    scores = json.dumps([{**entry, 'iteration': 10}, entry]).encode()
    return {'config.yaml': config, LOG_FILE: log, VALIDATIONS: scores, **series}


def _runs(rng: np.random.Generator, targets: tuple[str, ...]) -> list[Content]:
    files = _run_files()

    def right(value: list[Any]) -> bool:
        return '55.5' in value[0] and value[1] == [(20.0, 55.5)]

    return [Content(files, target, '', right, keeps_name=True) for target in targets]


def _read_run(root: Path) -> list[Any]:
    record = records.read_run(root)
    page = summary.format_page(record, root / 'report.png').replace(str(root), '')
    return [page.replace(root.name, ''), read_series(root, SCORE)]


def _packed(rng: np.random.Generator, target: str) -> list[Content]:
    """Return a packed data set of two images; a damaged index must not lead to other pixels."""
    labels = rng.integers(0, 2, (12, 17), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for folder in ('data/images', 'data/labels'):
            (root / folder).mkdir(parents=True)
        (root / 'data/dataset.yaml').write_text('classes: [road, car]\n')
        for number in range(2):
            (root / f'data/images/{number}.png').write_bytes(png(smooth(rng), 8))
            (root / f'data/labels/{number}.png').write_bytes(png(labels, 8))
        pack.pack(datasets.open('folder', root / 'data', 'train'), root / 'packed')
        files = {path.name: path.read_bytes() for path in sorted((root / 'packed').iterdir())}
    index = json.loads(files[pack.INDEX])
    for sample in index['samples']:  # the same in every run
        sample[1:] = [f'/missing/{Path(part).name}' for part in sample[1:]]
    for entry in index['entries']:
        entry[-1] = [[1, 2], [3, 4]]
    files[pack.INDEX] = json.dumps(index).encode()

    def right(value: list[Any]) -> bool:
        return np.array_equal(value[1], labels) and cv2.countNonZero(value[1]) > 0

    return [Content(files, target, '', right, keeps_name=True)]


def _read_packed(root: Path) -> list[Any]:
    """Return images and labels, after the check of all bytes that ``--check`` makes."""
    dataset = pack.open(root)
    faults = dataset.verify()
    if faults:
        raise datasets.DataError(faults[0])
    pairs = [(dataset.image(i), dataset.label(i)) for i in range(len(dataset))]
    return [array for pair in pairs for array in pair]


_TEXT_TARGETS = (*(series_path(Path(), name).name for name in _ROWS), LOG_FILE)
READERS = (
    Reader('run_series', partial(_runs, targets=_TEXT_TARGETS), _read_run, texts.OF_LISTS, share=3),
    Reader('run_scores', partial(_runs, targets=(VALIDATIONS,)), _read_run, texts.OF_JSON, share=3),
    Reader(
        'run_config', partial(_runs, targets=('config.yaml',)), _read_run, texts.OF_YAML, share=2
    ),
    Reader(
        'packed_index', partial(_packed, target=pack.INDEX), _read_packed, texts.OF_JSON, share=4
    ),
    Reader(
        'packed_pixels',
        partial(_packed, target=pack.IMAGES),
        _read_packed,
        has_checksums=True,
        share=2,
    ),
    Reader('packed_labels', partial(_packed, target=pack.LABELS), _read_packed, has_checksums=True),
)
