"""What of the published files of weights a path or a name means.

The families have the files, see :class:`models.family.Published`.
"""

import difflib
import shlex
from pathlib import Path

from common.patterns import matches
from models import registry
from models.family import Published

WITHOUT_DOWNLOAD = '-cfg configs/D3Net_T_camvid.yaml needs no download'
CHECKPOINTS = ('.pth', '.pyth', '.pt')  # endings of PyTorch's files


def files() -> list[Published]:
    """Return the published files of all families."""
    return [published for family in registry.FAMILIES for published in family.published]


def networks_of(published: Published) -> list[str]:
    """Return the names of all networks that a published file is for."""
    patterns = published.network.split()
    return [
        name
        for family in registry.FAMILIES
        if published in family.published
        for name in family.variants
        if matches(name, patterns)
    ]


def entry_of(path: Path) -> Published | None:
    """Return the published file whose name a path ends with; ``_`` and ``-`` are the same."""
    own = Path(str(path).replace('-', '_')).parts
    for published in files():
        parts = Path(published.file.replace('-', '_')).parts
        if own[-len(parts) :] == parts:
            return published
    return None


def input_statistics_of(path: Path) -> str | None:
    """Return the name of the statistics of a file's input, as far as the names of the file and its
    folder tell: those of a published file, or of one that is called like such; else None.
    """
    published = entry_of(path)
    if published is not None and published.statistics:
        return published.statistics
    tables = [original.statistics_of_names for original in registry.originals()]
    starts = [(start, name) for table in tables for start, name in table.items()]
    parts = path.parts[-2:]
    return next((name for start, name in starts for p in parts if p.startswith(start)), None)


def others(path: Path) -> str:
    """Say what there is instead of a file that does not exist."""
    if path.suffix in CHECKPOINTS:
        ours = [p.file for p in files() if p.file.endswith(path.suffix) and not p.obstacle]
        nearest = difflib.get_close_matches(str(path), ours, n=3, cutoff=0.4)
        also = f', such as {", ".join(nearest)}' if nearest else ''
        return f'python -m models --weights lists the published ones{also}'
    weights = ', '.join(p.file for p in files() if p.file.endswith('.h5'))
    return f'published files are {weights}, and {WITHOUT_DOWNLOAD}'


def conversion_of(path: Path) -> str:
    """Return the command that converts a checkpoint of PyTorch.

    It has ``NAME`` for a network that the name of the file does not tell. A file for several
    networks converts to the same arrays for all, so the command has the first.
    """
    published = entry_of(path)
    if published is None:
        network, inputs, target, classes = 'NAME', [path], path.with_suffix('.h5'), None
    else:
        network, classes = networks_of(published)[0], published.num_classes
        inputs = [path.with_name(half) for half in published.halves] or [path]
        whole = path.with_name(f'{network}.h5')
        target = whole if published.halves else path.with_suffix('.h5')
    options = ['--network', network]
    options += [] if classes is None else ['--num-classes', str(classes)]
    for file in inputs:
        options += ['-i', str(file)]
    return f'python -m models.convert {shlex.join([*options, "-o", str(target)])}'
