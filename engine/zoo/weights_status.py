"""Where the weights of a config are, whether they are here, and the command that gets them."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from common import PROJECT
from engine.config.config import Config
from models import weights
from models.family import NetworkInfo, Published
from models.weights import published

# Where the weights are, in a word.
HERE, UNCONVERTED, ELSEWHERE, NONE = 'here', 'to convert', 'elsewhere', 'none'
PHOTO = 'resources/street.jpg'


@dataclass(frozen=True)
class WeightsStatus:
    """The weights of a config.

    Attributes:
        state: ``here``, ``to convert`` (a checkpoint of PyTorch is here), ``elsewhere``, or
            ``none`` (no file was published that this project can load).
        source: The published files and where they are, or a file of the project.
        file: The weights, or the checkpoint, that are here; None if there are none.
        command: The command that gets, converts or trains the weights, wherever they are; None if
            they come with the project.
        address: The folder on the web, or the page, that has the published files; None if there
            are none, or if they come with the project.
        downloads: Whether the command downloads the files; else a browser has to.
    """

    state: str
    source: str
    file: Path | None = None
    command: str | None = None
    address: str | None = None
    downloads: bool = False


def find_status(config: Config, network: str, info: NetworkInfo, data_set: str) -> WeightsStatus:
    """Find the weights that were trained with a config, or with the original of its training.

    Args:
        config: A config of the project.
        network: Name of its network, under which weights are published.
        info: Facts about the network.
        data_set: Name of the data set.
    """
    config_file = _relative(config.path)
    if 'weights' in config:
        download = f'python infer.py -i {PHOTO} -cfg {config_file}'
        return _status_of_named(config['weights'], download)
    entries = [
        entry
        for entry in published.whole_networks(network, info)
        if data_set.startswith(_data_set_of(entry))
    ]
    entry = min(entries, key=lambda each: each.obstacle is not None, default=None)
    training = f'python train.py -cfg {config_file}'
    if entry is None:
        return WeightsStatus(NONE, 'not published', command=training)
    source, address = _source_of(entry), _address_of(entry)
    if entry.obstacle:
        return WeightsStatus(NONE, f'{source}; {entry.obstacle}', command=training, address=address)
    command, target = published.conversion_of(entry, network, f'{config.name}.h5')
    checkpoints = [weights.stored(each) for each in _files_of(entry)]
    state, file = UNCONVERTED, checkpoints[0]
    if Path(target).is_file():
        state, file = HERE, Path(target)
    elif not all(checkpoints):
        state, file = ELSEWHERE, None
    return WeightsStatus(state, source, file, command, address, bool(entry.mirrors))


def _status_of_named(name: str, download: str) -> WeightsStatus:
    """Return the status of the weights that a config names.

    Args:
        name: The name, which may be that of a published file.
        download: The command that downloads them.
    """
    file, entry = weights.stored(name), published.entry_of(Path(name))
    state = HERE if file else ELSEWHERE
    if entry is None:
        return WeightsStatus(state, _relative(Path(name)), file)
    address, downloads = _address_of(entry), bool(entry.mirrors)
    return WeightsStatus(state, _source_of(entry), file, download, address, downloads)


def _relative(path: Path) -> str:
    """Return a path as an argument of commands that run in the folder of the project."""
    inside = path.is_relative_to(PROJECT)
    return shlex.quote(str(path.relative_to(PROJECT) if inside else path))


def _data_set_of(entry: Published) -> str:
    """Return the start of the name of the data set that published weights were trained on."""
    return re.sub(r'\W', '', entry.task.partition(',')[0]).lower()


def _files_of(entry: Published) -> list[str]:
    """Return the names of all published files of a network."""
    folder = PurePosixPath(entry.file).parent
    return [str(folder / half) for half in entry.halves] or [entry.file]


def _source_of(entry: Published) -> str:
    """Return the published files, and the folder on the web, or the page, that has them."""
    place = f'in {entry.mirrors[0]}' if entry.mirrors else f'at {entry.page}'
    return f'{" and ".join(_files_of(entry))} {place}'


def _address_of(entry: Published) -> str | None:
    """Return the address alone, without the folder or password that a page's text may name."""
    place = entry.mirrors[0] if entry.mirrors else entry.page
    return place.split()[0] if place else None
