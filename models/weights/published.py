"""Look up published files of weights by path or name.

Each family lists its own files, see :class:`models.family.Published`.
"""

import difflib
import re
import shlex
from pathlib import Path

from common.patterns import matches
from models import registry
from models.family import NetworkInfo, Published
from models.structure import SINGLE, Structure

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


def other_class_count(network: str, num_classes: int | None) -> int | None:
    """Return ``num_classes`` if it is not the network's default number, else None."""
    default = registry.family_of(network).variants[network].get('num_classes')
    return None if num_classes == default else num_classes


def advice_for(network: str, info: NetworkInfo) -> str:
    """Return how to come to weights of a network: what is published, where, and how to convert it.

    Args:
        network: Name of the network.
        info: Its facts. Files for its input statistics are preferred.
    """
    trained = 'train.py writes some, such as runs/NAME/best.h5'
    if all(entry.obstacle for entry in _files_of(network)):
        return f'none are published for {network}; {trained}'
    for published in whole_networks(network, info):
        if not published.obstacle:
            return _how_to_get(published, network)
    classes = f'{info.num_classes} classes'
    what = classes if info.structure == SINGLE else 'these inputs and tasks'
    return (
        f'none are published for {network} with {what} (python -m models '
        f'--weights {network} lists others); {trained}'
    )


def whole_networks(network: str, info: NetworkInfo) -> list[Published]:
    """Return the published files of a whole network with its classes.

    Args:
        network: Name of the network.
        info: Its facts. Files for its input statistics come first.

    Returns:
        The files, also those that this project cannot load. None has several inputs or tasks.
    """
    if info.structure != SINGLE:
        return []
    own = [entry for entry in _files_of(network) if _classes_of(entry) == info.num_classes]
    return sorted(own, key=lambda entry: not _is_for_input_of(info, entry))


def _files_of(network: str) -> list[Published]:
    return [entry for entry in files() if network in networks_of(entry)]


def _classes_of(published: Published) -> int | None:
    """Return the number of classes that a file of a whole network was trained for."""
    found = re.search(r'(\d+) classes', published.task)
    return int(found[1]) if found else None


def _is_for_input_of(info: NetworkInfo, published: Published) -> bool:
    """Return whether a file was trained on inputs with the statistics of a network's."""
    statistics = registry.STATISTICS.get(published.statistics or '')
    return not statistics or bool(statistics['channel_order'] == info.channel_order)


def _how_to_get(published: Published, network: str) -> str:
    """Return what a published file is, where it is, and what makes an ``.h5`` of it."""
    path = Path(published.file)
    what = f'{published.file} ({published.task}) is published'
    if path.suffix == '.h5':
        return f'{what}, and downloaded if it is missing: -m {published.file}'
    command, target = conversion_of(published, network)
    if published.mirrors:
        return f'{what}; download and convert it with {command}, then pass -m {target}'
    return f'{what} at {published.page}; get it, convert it with {command}, then pass -m {target}'


def conversion_of(published: Published, network: str, target: str | None = None) -> tuple[str, str]:
    """Return the command that converts a published checkpoint, and the .h5 file that it writes.

    Args:
        published: The checkpoint of a whole network.
        network: Name of the network.
        target: The file to write; None for the name of the checkpoint or of the network.
    """
    path = Path(published.file)
    if path.suffix not in CHECKPOINT_SUFFIXES:  # a title, as its page does not name the file
        path = Path('FILE.pth')
    *options, default = shlex.split(conversion_command(path, network, _classes_of(published)))
    target = target or Path(default).name  # the folder of a published file need not exist here
    return shlex.join([*options, target]), target


def alternatives_to(path: Path) -> str:
    """Return advice on available weights, for the error message about a missing file."""
    if path.suffix in CHECKPOINT_SUFFIXES:
        loadable = [p.file for p in files() if p.file.endswith(path.suffix) and not p.obstacle]
        nearest = difflib.get_close_matches(str(path), loadable, n=3, cutoff=0.4)
        also = f', such as {", ".join(nearest)}' if nearest else ''
        return f'python -m models --weights lists the published files{also}'
    weights = ', '.join(p.file for p in files() if p.file.endswith('.h5'))
    return f'published files are {weights}, and {BUNDLED_CONFIG_HINT}'


def conversion_command(
    path: Path,
    network: str | None = None,
    num_classes: int | None = None,
    structure: Structure = SINGLE,
) -> str:
    """Return the command that converts a PyTorch checkpoint.

    A published file serves one of its own networks. If it serves several, the converted arrays are
    the same for each.

    Args:
        path: The checkpoint.
        network: Name of the network that the weights are for; None leaves a placeholder, ``NAME``,
            unless the file is a published one.
        num_classes: Number of classes of that network; None for the default.
        structure: Inputs and tasks of that network. Published files have one of each.
    """
    published = entry_of(path)
    if published is None:
        inputs, target = [path], path.with_suffix('.h5')
        plain = network if structure == SINGLE else None
        classes = None if plain is None else other_class_count(plain, num_classes)
        network = network or 'NAME'
        of_tasks = shlex.split(structure.options())
    else:
        networks, classes, of_tasks = networks_of(published), published.num_classes, []
        if network is None or network not in networks:
            network = networks[0]
        inputs = [path.with_name(half) for half in published.halves] or [path]
        whole = path.with_name(f'{network}.h5')
        target = whole if published.halves else path.with_suffix('.h5')
    options = ['--network', network]
    options += [] if classes is None else ['--num-classes', str(classes)]
    options += of_tasks
    for file in inputs:
        options += ['-i', str(file)]
    return f'python -m models.convert {shlex.join([*options, "-o", str(target)])}'
