"""Load and check configs: YAML files with the flat keys of the published D3Net files.

    config = load('configs/D3Net_L.yaml', ['lr=0.02'])
    config['lr'], config.name

A file may inherit from others: ``_base_: D3Net_S.yaml``, or a list in which later files win. Bases
and other relative paths are relative to the file that contains them. A key set to null counts as
missing. The effective config of a run, which ``load('runs/D3Net_L')`` reads as well, resolves the
run's own weights.
"""

import difflib
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

import datasets
import models
from common import PROJECT, files
from common.errors import UserError
from common.sections import Key, SectionError, plain
from common.tasks import TaskKeys
from common.terminal.short_repr import short_repr, short_text
from datasets.info import long_name, repeated_name
from datasets.keys import DataKeys
from datasets.loading import augmentations, pack
from datasets.readers import layout
from engine.config import class_count, reading, schema, task_classes
from engine.config.config import Config, Origins
from engine.config.implied import implied
from engine.config.published_score import BLOCK_KEY, parse_block
from engine.config.reading import BASE_KEY
from engine.config.schema import FIXED_VALUES
from engine.runs.run_folder import RunFolder
from models.family import NetworkKeys

SET_OPTION = '--set'
AUGMENTATION_KEY = 'augmentation'  # a config with this key needs the augmentation's keys
DEFAULT_CONFIG = PROJECT / 'configs' / 'D3Net_L.yaml'


def load(
    path: str | os.PathLike[str] | None = None,
    overrides: Iterable[str] = (),
    options: Mapping[str, tuple[str, Any]] = MappingProxyType({}),
) -> Config:
    """Read and check a config.

    Args:
        path: The config file, or a folder with a config.yaml, such as that of a run; searched in
            the working directory, then in the project. None for the default config.
        overrides: ``key=value`` texts, with values in YAML.
        options: Name and value of a command-line option, by the key that the option sets.

    Raises:
        UserError: The message names the key, and the file or the option that sets it.
    """
    given = parse_overrides(overrides)
    named = path is not None
    path = reading.find_file(path or DEFAULT_CONFIG)
    run = RunFolder.of_config(path)
    values, origins = reading.read_file(path)
    published = parse_block(values.pop(BLOCK_KEY, None), path)
    given |= implied(given, values, origins)
    values, origins = values | given, origins | dict.fromkeys(given, SET_OPTION)
    for key, (option, value) in options.items():
        values[key], origins[key] = value, option
    values = {key: value for key, value in values.items() if value is not None}
    config = Config(path, _check_keys(values, origins), origins, run, named, published)
    config = _with_class_count(config)
    _check_together(config)
    return config


def parse_overrides(overrides: Iterable[str]) -> dict[str, Any]:
    """Return the unchecked values of ``key=value`` texts, with paths from the working directory."""
    if isinstance(overrides, str):  # its letters would be taken for overrides
        raise UserError(f'overrides: pass a list of texts, such as [{short_repr(overrides)}]')
    given: dict[str, Any] = {}
    for override in overrides:
        key, separator, value = override.partition('=')
        source = f'{SET_OPTION} {short_text(override)}'
        if not separator:
            raise UserError(f'{source}: write it as key=value')
        given[key.strip()] = reading.parse_value(value, source, key.strip())
    reading.resolve_paths(given, Path.cwd(), SET_OPTION)
    return given


def from_values(
    path: Path,
    stored: Mapping[str, Any],
    given: Mapping[str, Any] = MappingProxyType({}),
    given_by: Mapping[str, str] = MappingProxyType({}),
) -> Config:
    """Return the config that an exported file stores.

    Keys of the file that this version does not know, as another version wrote it, are left out.

    Args:
        path: The file.
        stored: Its values by key.
        given: Values of the command line, which replace those of the file.
        given_by: The options that set them, by key; others are set by ``--set``.

    Raises:
        UserError: A value is invalid.
    """
    origins: Origins = dict.fromkeys(stored, path)
    given = {**given, **class_count.implied(given, stored, origins)}
    origins |= dict.fromkeys(given, SET_OPTION) | dict(given_by)
    try:
        keys = schema.keys_for(stored)
    except models.ModelError as error:
        raise UserError(f'{path}: {error}') from error
    values = {key: value for key, value in stored.items() if key in keys} | given
    values = {key: value for key, value in values.items() if value is not None}
    config = Config(path, _check_keys(values, origins), origins)
    _check_together(config)
    return config


def with_origins(config: Config) -> str:
    """Return a config as YAML, one line per key, with the origin of its value as a comment.

    The score that its file quotes stands first, although it is no key.
    """
    lines = []
    score = {} if config.published is None else {BLOCK_KEY: config.published.as_values()}
    for key, value in (score | dict(config)).items():
        text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=math.inf)
        text = text.removesuffix('...\n').rstrip()  # YAML's end marker after a scalar
        lines.append(f'{key}: {text}  # {config.origin(key)}\n')
    return ''.join(lines)


def class_info(config: Config, root: str | os.PathLike[str] | None = None) -> datasets.DatasetInfo:
    """Return the names and colours of a config's classes.

    Names and colours come from the config, which :func:`engine.inference.loading.load` completes
    with those of the weights, or else from its data set. If neither defines them, the names are
    ``class 0``, ``class 1`` and so on, and the colours are generated.

    Args:
        config: The config.
        root: Root of the data set; the reader ``folder`` reads the classes from there. None for the
            config's ``data_dir``, if it is there and readable.

    Raises:
        UserError: The data set is unknown or unreadable, or the number of names or of colours
            differs from the network's number of classes.
    """
    data = DataKeys.of(config)
    count = models.describe(config).num_classes
    known = data_set_info(config, root)
    if not data.classes:
        task_classes.check_first_task(config, known)
    classes = data.classes or known.classes or tuple(f'class {i}' for i in range(count))
    theirs = known.palette if not data.classes or len(known.palette) == count else ()
    palette = data.palette or theirs or datasets.distinct_colours(count)
    long = long_name(classes)
    if long is not None:
        raise UserError(
            f'classes: {short_text(long)} has {len(long)} characters; shorten it '
            f'({config.origin("classes")})'
        )
    repeated = repeated_name(classes)
    if repeated is not None:
        raise UserError(f'classes: has {repeated} twice ({config.origin("classes")})')
    for key, entries in (('classes', classes), ('palette', palette)):
        if len(entries) != count:
            raise UserError(
                class_count.explain_contradiction(config, key, count, known, root or data.data_dir)
            )
    categories = known.categories if classes == known.classes else None
    info = replace(known, classes=classes, palette=palette, categories=categories)
    return task_classes.with_all_tasks(config, info)


def data_set_info(
    config: Config, root: str | os.PathLike[str] | None = None
) -> datasets.DatasetInfo:
    """Return the facts about a config's data set, with its own names and colours.

    With tasks, the classes are those of the first task that has any.

    Args:
        config: The config.
        root: Root of the data set; None for the config's ``data_dir``, if it is there and readable.

    Raises:
        UserError: The data set is unknown, or ``root`` is unreadable.
    """
    data = DataKeys.of(config)
    # The published files name no data set; their 19 classes are those of Cityscapes.
    name = data.dataset or ('cityscapes' if NetworkKeys.of(config).num_classes == 19 else 'folder')
    folder = root or data.data_dir
    try:
        if folder and files.kind_of(Path(folder)) == 'folder':
            try:
                return task_classes.of_first_task(config, datasets.info(name, folder))
            except datasets.DataError:
                packed = pack.info(folder)
                if packed is not None and packed.name == name:
                    return packed
                if root:
                    raise  # else the folder is only one of several sources of names
        return task_classes.of_first_task(config, datasets.info(name))
    except datasets.DataError as error:
        raise UserError(f'dataset: {error} ({config.origin("dataset")})') from error


def _with_class_count(config: Config) -> Config:
    """Complete a config that lacks ``num_classes`` with the number of its or its data's classes."""
    if class_count.COUNT in config or TaskKeys.of(config).task_channels is not None:
        return config
    data = DataKeys.of(config)
    if data.classes:
        count, source = len(data.classes), config.origin('classes')
    else:
        root = layout.data_root(data_set_info(config).name, data.data_dir)
        known = data_set_info(config, root)
        count, source = len(known.classes), f'the classes of the data set {known.name}'
    try:
        if models.describe(config).num_classes == count:
            return config
    except models.HyperParameterError as error:
        if error.key == class_count.COUNT and not count and data.dataset:
            raise UserError(
                f'num_classes: must be given, as the classes of the data set {known.name} are '
                f'those in {root}, which is not there; set num_classes or classes, or data_dir to '
                f'its folder ({config.path})'
            ) from error
    return config.completed({class_count.COUNT: count}, source) if count else config


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
                    f'not {short_repr(value)}; leave the key out ({origins[key]})'
                )
        else:
            raise UserError(
                f'{short_text(key)}: unknown key; {_nearest(key, keys)} ({origins[key]})'
            )
    return checked


def _nearest(key: object, keys: Mapping[str, Key]) -> str:
    """Return which keys could be meant: of a similar name, else of this meaning."""
    if key in (BASE_KEY, BLOCK_KEY):
        return 'set it in the config file, not on the command line'
    text, every = short_text(key), 'python -m engine.config --reference lists all keys'
    close = difflib.get_close_matches(text, keys, n=1, cutoff=0.5)
    if close:
        return f'the nearest is {close[0]}'
    words = text.lower().replace('_', ' ')
    meant = sorted((name for name in keys if words in keys[name].meaning), key=len)
    return f'{every}, such as {", ".join(meant[:3])}' if meant else every


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
