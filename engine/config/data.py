"""Open the data set of a config, with the config's class names and colours."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import datasets
import models
from common import files
from common.errors import UserError
from common.log import LOG
from common.tasks import TaskKeys
from datasets import Dataset
from datasets.keys import FLOW, DataKeys, ImageReading
from datasets.loading import pack
from datasets.readers import layout
from datasets.readers.contract import TaskReader
from datasets.samples import ONE_IMAGE_AND_LABEL, SceneFiles
from engine.config import task_classes
from engine.config.config import Config
from engine.config.loading import class_info, data_set_info
from engine.config.task_classes import TaskClassKeys
from models.class_table import first_difference


def data_root(config: Config, data_dir: str | os.PathLike | None = None) -> Path:
    """Return the folder of the config's data set.

    Args:
        config: The config.
        data_dir: The user's folder; None for the config's ``data_dir``, or else
            ``data/<data set>`` in the working directory or the project.
    """
    return layout.data_root(data_set_info(config).name, data_dir or DataKeys.of(config).data_dir)


def open_dataset(
    config: Config,
    split: str,
    data_dir: str | os.PathLike | None = None,
    list_file: str | os.PathLike | None = None,
    complete: bool = True,
) -> Dataset:
    """Open a split of the config's data set, from its files or from packed data.

    Args:
        config: The config, whose class names and colours override those of the data set. Its
            ``inputs`` and ``tasks`` say which pictures and targets a sample has.
        split: Name of the split, such as ``train`` or ``val``.
        data_dir: Root of the data set, as for :func:`data_root`.
        list_file: A file that lists the images to use; None for all images of the split.
        complete: Whether an image without labels is an error.

    Raises:
        UserError: The data set is missing or incomplete, or has no such pictures or targets.
    """
    root = data_root(config, data_dir)
    wanted = _wanted(config)
    name, reading = data_set_info(config).name, ImageReading.of(config)
    LOG.info('opening %s %s in %s', name, split, root)
    packed = pack.open_split(name, root, split, reading)
    if packed is not None and list_file is not None:
        raise UserError(f'--list: {root} is packed; pass the folder of the images with -d')
    if packed is not None and wanted != ONE_IMAGE_AND_LABEL:
        raise UserError(
            f'{root}: packed data have one image and label each, but the config has inputs or '
            'tasks; pass the folder of the images with -d'
        )
    dataset = packed or datasets.open(
        name, root, split, list_file, complete=complete, reading=reading, wanted=wanted
    )
    tasks = models.describe(config).tasks if wanted.tasks else ()
    return replace(dataset, info=class_info(config, root), tasks=tasks)


def _wanted(config: Config) -> SceneFiles:
    """Return which pictures and targets of a scene the network of a config needs."""
    keys, data = TaskKeys.of(config), DataKeys.of(config)
    if keys.inputs == 1:
        return SceneFiles(tasks=keys.tasks or ())
    return SceneFiles(keys.inputs, keys.tasks or (), data.input_folder, data.input_kind)


def input_kind(config: Config, root: str | os.PathLike[str] | None = None) -> str:
    """Return what the first of two pictures of a scene is: ``flow`` or ``image``.

    The config decides, which a training completes with the kind that it has seen; else the data
    set in ``root``; without either it is flow.

    Args:
        config: The config.
        root: Root of the data set; None for the config's ``data_dir``, if it is there and readable.

    Raises:
        UserError: ``root`` is unreadable.
    """
    data = DataKeys.of(config)
    if data.input_kind is not None:
        return data.input_kind
    folder = root or data.data_dir
    if not folder or files.kind_of(Path(folder)) != 'folder':
        return FLOW
    try:
        known = datasets.reader(data_set_info(config).name)
        place = layout.locate(Path(folder), known.INFO)
        first = known.first_input(place) if isinstance(known, TaskReader) else None
    except datasets.DataError:
        if root:
            raise
        first = None
    return FLOW if first is None else first[1]


def with_input_kind(config: Config, root: str | os.PathLike[str] | None = None) -> Config:
    """Return the config with the :func:`input_kind` that it has, if its network takes two pictures.

    So files that are made of the network keep it.
    """
    if models.describe(config).inputs == 1 or 'input_kind' in config:
        return config
    return config.completed({'input_kind': input_kind(config, root)}, 'the data set, or flow')


def check_further_classes(config: Config, root: Path, remedy: str) -> None:
    """Compare the classes of further tasks that the config names with those of the data set.

    Args:
        config: The config, which selects the data set.
        root: Root of the data set.
        remedy: What to do about another order.

    Raises:
        UserError: The data set has the same classes in another order; see :func:`check_classes`.
    """
    source = f'the config {config.origin(task_classes.KEY)}'
    for task, table in TaskClassKeys.of(config).tables().items():
        check_classes(table.classes, source, config, root, remedy, task)


def check_classes(
    names: Sequence[str] | None,
    source: str,
    config: Config,
    root: Path,
    remedy: str,
    task: str | None = None,
) -> None:
    """Compare the names of a network's classes with those of the data set.

    Other names in the same places can be meant, and are logged as a warning.

    Args:
        names: Names by class index; None if they are unknown.
        source: Where they are from, for messages: ``the weights best.h5``.
        config: The config that selects the data set.
        root: Root of the data set.
        remedy: What to do about another order.
        task: The further task that they belong to; None for the first one with classes.

    Raises:
        UserError: The data set has the same names in another order, so that its labels would have
            other meanings.
    """
    info = data_set_info(config, root)
    if task is not None:
        info = task_classes.of_task(info, task)
    own = info.classes
    if not names or not own:
        return
    index = first_difference(names, own)
    if index is None:
        return
    here, there = (repr(each[index]) if index < len(each) else 'missing' for each in (names, own))
    of_task = '' if task is None else f' of {task}'
    differs = f'class {index}{of_task} is {here} in {source} and {there} in the data set {root}'
    if sorted(names) == sorted(own):
        raise UserError(
            f'{differs}: both have the same classes in another order, so labels would count as '
            f'other classes; {remedy}'
        )
    LOG.warning('%s: compare their classes, as only the index of a class counts', differs)


def first_samples(dataset: Dataset, limit: int | None) -> Dataset:
    """Return the data set with its first ``limit`` samples only; None keeps all."""
    return replace(dataset, samples=dataset.samples[:limit])
