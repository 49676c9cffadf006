"""Load and check configs: YAML files with the flat keys of the published D3Net files.

    config = load('configs/D3Net_L.yaml', ['lr=0.02'])
    config['lr'], config.name

A file may inherit from others: ``_base_: D3Net_S.yaml``, or a list in which later files win. Bases
and other relative paths are relative to the file that contains them. A key set to null counts as
missing.
"""

import difflib
import math
import os
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

import datasets
import models
from common import PROJECT, files
from common.errors import UserError
from common.sections import SectionError, plain
from datasets.keys import DataKeys
from datasets.loading import augmentations
from datasets.readers import layout
from engine.config import class_count, schema
from engine.config.schema import FIXED_VALUES
from models.family import NetworkKeys

BASE_KEY = '_base_'
SET_OPTION = '--set'
AUGMENTATION_KEY = 'augmentation'  # a config with this key needs the augmentation's keys
DEFAULT_CONFIG = PROJECT / 'configs' / 'D3Net_L.yaml'
PATH_KEYS = ('weights', 'pretrained', 'data_dir')  # keys whose values are paths
Origins = dict[str, Path | str]  # by key, the file or the option that sets it


class Config(Mapping[str, Any]):
    """A checked config, as a mapping from keys to values.

    Attributes:
        path: The config file.
        name: The file's name without the suffix.
    """

    def __init__(self, path: Path, values: dict[str, Any], origins: Origins):
        self.name, self.path, self._values, self._origins = path.stem, path, values, origins

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def origin(self, key: str) -> str:
        """Return the file or the option that sets ``key``."""
        return str(self._origins.get(key, self.path))

    @contextmanager
    def naming_origins(self) -> Iterator[None]:
        """Add to a ``SectionError`` where the keys of its message are set."""
        try:
            yield
        except SectionError as error:
            found = {key: self.origin(key) for key in error.keys if key in self}
            if len(found) > 1:
                where = '; '.join(f'{key}: {origin}' for key, origin in found.items())
            else:
                where = next(iter(found.values()), str(self.path))
            raise UserError(f'{error} ({where})') from error

    def completed(self, values: Mapping[str, Any], origin: str) -> 'Config':
        """Return the config with ``values`` added for the keys that it lacks.

        Args:
            values: Checked values by key.
            origin: Where the values come from, for :meth:`origin`.
        """
        missing = {key: plain(values[key]) for key in values if key not in self}
        origins = self._origins | dict.fromkeys(missing, origin)
        return Config(self.path, {**self._values, **missing}, origins)


def load(
    path: str | os.PathLike[str] | None = None,
    overrides: Iterable[str] = (),
    options: Mapping[str, tuple[str, Any]] = MappingProxyType({}),
) -> Config:
    """Read and check a config.

    Args:
        path: The config file, searched in the working directory, then in the project; None for
            the default config.
        overrides: ``key=value`` texts, with values in YAML.
        options: Name and value of a command-line option, by the key that the option sets.

    Raises:
        UserError: The message names the key, and the file or the option that sets it.
    """
    path = _existing(path or DEFAULT_CONFIG)
    values, origins = _read(path, ())
    given: dict[str, Any] = {}
    for override in overrides:
        key, separator, value = override.partition('=')
        if not separator:
            raise UserError(f'{SET_OPTION} {override}: write it as key=value')
        given[key.strip()] = _parse(value, f'{SET_OPTION} {override}')
    given |= class_count.follow_classes(given, values)
    values, origins = values | given, origins | dict.fromkeys(given, SET_OPTION)
    for key, (option, value) in options.items():
        values[key], origins[key] = value, option
    values = {key: value for key, value in values.items() if value is not None}
    config = _with_class_count(Config(path, _check_keys(values, origins), origins))
    _check_together(config)
    return config


def with_origins(config: Config) -> str:
    """Return a config as YAML, one line per key, with the origin of its value as a comment."""
    lines = []
    for key, value in config.items():
        text = yaml.safe_dump(value, default_flow_style=True, width=math.inf)
        text = text.removesuffix('...\n').rstrip()  # YAML's end marker after a scalar
        lines.append(f'{key}: {text}  # {config.origin(key)}\n')
    return ''.join(lines)


def class_info(config: Config, root: str | os.PathLike[str] | None = None) -> datasets.DatasetInfo:
    """Return the names and colours of a config's classes.

    Names and colours come from the config, or else from its data set. If neither defines them, the
    names are ``class 0``, ``class 1`` and so on, and the colours are generated.

    Args:
        config: The config.
        root: Root of the data set; the reader ``folder`` reads the classes from there. None for the
            config's ``data_dir``.

    Raises:
        UserError: The data set is unknown or unreadable, or the number of names or of colours
            differs from the network's number of classes.
    """
    data = DataKeys.of(config)
    count = models.describe(config).num_classes
    known = data_set_info(config, root)
    own_number = data.classes is not None and len(known.palette) != count
    info = replace(
        known,
        classes=data.classes or known.classes or tuple(f'class {i}' for i in range(count)),
        palette=data.palette
        or (() if own_number else known.palette)
        or datasets.distinct_colours(count),
        categories=None if data.classes else known.categories,
    )
    for key, entries in (('classes', info.classes), ('palette', info.palette)):
        if len(entries) != count:
            raise UserError(
                class_count.explain_contradiction(config, key, count, known, root or data.data_dir)
            )
    return info


def data_set_info(
    config: Config, root: str | os.PathLike[str] | None = None
) -> datasets.DatasetInfo:
    """Return the facts about a config's data set, with its own names and colours.

    Args:
        config: The config.
        root: Root of the data set; None for the config's ``data_dir``.

    Raises:
        UserError: The data set is unknown or unreadable.
    """
    data = DataKeys.of(config)
    # The published files name no data set; their 19 classes are those of Cityscapes.
    name = data.dataset or ('cityscapes' if NetworkKeys.of(config).num_classes == 19 else 'folder')
    root = root or data.data_dir
    try:
        return datasets.info(name, root if root and files.kind_of(Path(root)) == 'folder' else None)
    except datasets.DataError as error:
        raise UserError(f'dataset: {error} ({config.origin("dataset")})') from error


def _with_class_count(config: Config) -> Config:
    """Complete a config that lacks ``num_classes`` with the number of its or its data's classes."""
    if 'num_classes' in config:
        return config
    data = DataKeys.of(config)
    if data.classes:
        count, source = len(data.classes), config.origin('classes')
    else:
        known = data_set_info(config, layout.data_root(data.dataset or 'folder', data.data_dir))
        count, source = len(known.classes), f'the classes of the data set {known.name}'
    with suppress(models.HyperParameterError):  # it may be the missing number
        if models.describe(config).num_classes == count:
            return config
    return config.completed({'num_classes': count}, source) if count else config


def _existing(path: str | os.PathLike[str]) -> Path:
    """Find a config file; if there is none, raise ``UserError`` with the nearest names."""
    for candidate in (Path(path), PROJECT / path):
        if files.kind_of(candidate) == 'file':
            return candidate.resolve()
    there = {p.stem.lower(): f'configs/{p.name}' for p in (PROJECT / 'configs').glob('*.yaml')}
    close = difflib.get_close_matches(Path(path).stem.lower(), there, n=3, cutoff=0.6)
    named = [there[name] for name in close]
    if named:
        raise UserError(f'{path}: no such config; the nearest are {", ".join(named)}')
    one_a_project = {name[:3]: there[name] for name in sorted(there, reverse=True)}
    some = ', '.join(sorted(one_a_project.values()))
    raise UserError(f'{path}: no such config; available are {some} and others')


def _read(path: Path, children: tuple[Path, ...]) -> tuple[dict[str, Any], Origins]:
    """Read a file and its bases.

    Args:
        path: The file.
        children: The files that inherit from it, to detect cycles.

    Returns:
        The merged values, and for each key the file that sets it.
    """
    if path in children:
        raise UserError(
            f'{path}: {BASE_KEY} forms a cycle through '
            + ', '.join(child.name for child in children)
        )
    try:
        own = _parse(path.read_text(encoding='utf-8'), path)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f'{path}: cannot read this config ({error})') from error
    if not isinstance(own, dict):
        raise UserError(f'{path}: a config must consist of "key: value" lines')
    values: dict[str, Any] = {}
    origins: Origins = {}
    bases = own.pop(BASE_KEY, None) or []
    for base in bases if isinstance(bases, list) else [bases]:
        if not isinstance(base, str):
            raise UserError(f'{path}: {BASE_KEY} must name a file, not {base!r}')
        if files.kind_of(path.parent / base) != 'file':
            raise UserError(f'{path}: {BASE_KEY} names {base}, which does not exist beside it')
        inherited, inherited_origins = _read((path.parent / base).resolve(), (*children, path))
        values |= inherited
        origins |= inherited_origins
    for key in PATH_KEYS:
        if isinstance(own.get(key), str):
            own[key] = _relative_to(path.parent, own[key])
    own |= class_count.follow_classes(own, values)
    return values | own, origins | dict.fromkeys(own, path)


def _relative_to(folder: Path, path: str) -> str:
    """Resolve a path against the config's folder.

    A bare file name that does not exist there is not changed, because it may be the name of a
    published file.
    """
    beside = folder / Path(path).expanduser()
    return str(beside.resolve()) if files.kind_of(beside) or os.sep in path else path


class _Loader(yaml.SafeLoader):
    """A safe YAML loader that rejects duplicate keys; PyYAML silently uses the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = []
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f'duplicate key {key}', problem_mark=key_node.start_mark
                )
            seen.append(key)
        return super().construct_mapping(node, deep)


def _parse(text: str, source: Path | str) -> Any:
    try:
        return yaml.load(text, _Loader)  # a SafeLoader: it constructs plain values only
    except yaml.YAMLError as error:
        problem = getattr(error, 'problem', None) or str(error)
        mark = getattr(error, 'problem_mark', None)
        where = f' in line {mark.line + 1}' if mark else ''
        raise UserError(f'{source}: not valid YAML{where}: {problem}') from error


def _check_keys(values: dict[str, Any], origins: Origins) -> dict[str, Any]:
    """Check and convert the values of known keys; sequences stay lists, as in YAML.

    Raises:
        UserError: A key is unknown, or its value has the wrong type or is out of range.
    """
    try:
        keys = schema.keys_for(values)
    except models.ModelError as error:
        raise UserError(f'network: {error} ({origins["network"]})') from error
    checked = {}
    for key, value in values.items():
        if key in keys:
            try:
                checked[key] = plain(keys[key].convert(value))
            except SectionError as error:
                raise UserError(f'{error} ({origins[key]})') from error
        elif key in FIXED_VALUES:
            published = FIXED_VALUES[key]
            if any(v != published for v in (value if isinstance(value, list) else [value])):
                raise UserError(
                    f'{key}: only the published value {published} is supported, '
                    f'not {value!r} ({origins[key]})'
                )
        else:
            raise UserError(f'{key}: unknown key; {_nearest(key, keys)} ({origins[key]})')
    return checked


def _nearest(key: object, keys: Iterable[str]) -> str:
    if key == BASE_KEY:
        return 'set it in the config file, not on the command line'
    close = difflib.get_close_matches(str(key), keys, n=1, cutoff=0.5)
    return f'the nearest is {close[0]}' if close else f'valid keys are {", ".join(sorted(keys))}'


def _check_together(config: Config) -> None:
    """Check that network, classes, colours, augmentation and the other sections are consistent."""
    with config.naming_origins():
        models.describe(config)
    class_info(config)
    if AUGMENTATION_KEY in config:
        try:
            augmentations.create(config)
        except UserError as error:
            raise UserError(f'{error} ({config.path})') from error
    for section in schema.fixed_sections():
        with config.naming_origins():
            section.of(config)
