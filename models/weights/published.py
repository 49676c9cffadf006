"""Look up published files of weights by path or name.

Each family lists its own files, see :class:`models.family.Published`.
"""

import difflib
import shlex
from pathlib import Path

from common.patterns import matches
from models import registry
from models.family import Published

BUNDLED_CONFIG_HINT = '-cfg configs/D3Net_T_camvid.yaml needs no download'
CHECKPOINT_SUFFIXES = ('.pth', '.pyth', '.pt')  # suffixes of PyTorch's files


def files() -> list[Published]:
    """Return the published files of all families."""
    return [published for family in registry.FAMILIES for published in family.published]


def networks_of(published: Published) -> list[str]:
    """Return the names of all networks that a published file contains weights for."""
    patterns = published.network.split()
    return [
        name
        for family in registry.FAMILIES
        if published in family.published
        for name in family.variants
        if matches(name, patterns)
    ]


def entry_of(path: Path) -> Published | None:
    """Return the published file whose name a path ends with.

    Args:
        path: Any path. Its last parts are compared with the names of published files, which may
            include a folder; ``_`` and ``-`` count as the same character.

    Returns:
        The entry; None if no published file has this name.
    """
    own = Path(str(path).replace('-', '_')).parts
    for published in files():
        parts = Path(published.file.replace('-', '_')).parts
        if own[-len(parts) :] == parts:
            return published
    return None


def input_statistics_of(path: Path) -> str | None:
    """Return the name of the input statistics that the names of a file and its folder imply.

    Args:
        path: A published file, or a file whose own or folder's name starts with a known prefix.

    Returns:
        A key of :data:`models.registry.STATISTICS`; None if the names imply none.
    """
    published = entry_of(path)
    if published is not None and published.statistics:
        return published.statistics
    tables = [original.statistics_of_names for original in registry.originals()]
    starts = [(start, name) for table in tables for start, name in table.items()]
    parts = path.parts[-2:]
    return next((name for start, name in starts for p in parts if p.startswith(start)), None)


def alternatives_to(path: Path) -> str:
    """Return advice on available weights, for the error message about a missing file."""
    if path.suffix in CHECKPOINT_SUFFIXES:
        loadable = [p.file for p in files() if p.file.endswith(path.suffix) and not p.obstacle]
        nearest = difflib.get_close_matches(str(path), loadable, n=3, cutoff=0.4)
        also = f', such as {", ".join(nearest)}' if nearest else ''
        return f'python -m models --weights lists the published files{also}'
    weights = ', '.join(p.file for p in files() if p.file.endswith('.h5'))
    return f'published files are {weights}, and {BUNDLED_CONFIG_HINT}'


def conversion_command(path: Path) -> str:
    """Return the command that converts a PyTorch checkpoint.

    If the file is not a published one, the command contains the placeholder ``NAME`` for the
    network. If a published file serves several networks, the command names the first one: the
    converted arrays are the same for each.
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
