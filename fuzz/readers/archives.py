"""Archives of data sets."""

import bz2
import gzip
import lzma
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from datasets.preparation import archives
from fuzz.inputs import Content, Reader, one_file
from fuzz.mutators import containers


def _members(rng: np.random.Generator) -> list[tuple[str, bytes]]:
    return [(f'data/{name}.bin', rng.bytes(600)) for name in ('a', 'b', 'sub/c')]


def _zips(rng: np.random.Generator) -> list[Content]:
    members = _members(rng)
    methods = {'stored': zipfile.ZIP_STORED, 'deflated': zipfile.ZIP_DEFLATED}
    return [
        one_file(f'{name}.zip', containers.zipped(members, method), lambda value: len(value) == 3)
        for name, method in methods.items()
    ]


def _tars(rng: np.random.Generator) -> list[Content]:
    plain = containers.tarred(_members(rng))
    forms = {
        'plain.tar': plain,
        'gzip.tar.gz': gzip.compress(plain, mtime=0),
        'bzip2.tar.bz2': bz2.compress(plain),
        'xz.tar.xz': lzma.compress(plain),
    }
    return [one_file(name, data, lambda value: len(value) == 3) for name, data in forms.items()]


def _read(path: Path) -> list[bytes]:
    """Return the contents of the unpacked files; nothing may lie outside of the target."""
    target = path.parent / 'target'
    target.mkdir()
    archives.unpack(path, target, {'data': 'place'}, target / 'downloads' / 'staging')
    outside = set(path.parent.iterdir()) - {path, target}
    if outside:
        raise AssertionError(f'{outside} is outside of the target')
    return [each.read_bytes() for each in sorted(target.rglob('*')) if each.is_file()]


def _each(value: list[bytes]) -> list[Any]:
    """Return the contents as parts: names have no checksum in these formats."""
    return list(value)


READERS = (
    Reader('zip', _zips, _read, containers.OF_ZIP, True, _each, share=4),
    Reader('tar', _tars, _read, (*containers.OF_TAR, *containers.OF_STREAMS), share=4),
)
