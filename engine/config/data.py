"""Open the data set of a config, with the config's class names and colours."""

import logging
import os
from dataclasses import replace

import datasets
from common.log import LOG
from datasets import Dataset
from datasets.keys import DataKeys
from datasets.readers import layout
from engine.config.loading import Config, class_info


def open_dataset(
    config: Config,
    split: str,
    data_dir: str | os.PathLike | None = None,
    list_file: str | os.PathLike | None = None,
    complete: bool = True,
) -> Dataset:
    """Open a split of the config's data set.

    Args:
        config: The config, whose class names and colours override those of the data set.
        split: Name of the split, such as ``train`` or ``val``.
        data_dir: Root of the data set; None for the config's ``data_dir``, or else
            ``data/<data set>`` in the working directory or the project.
        list_file: A file that lists the images to use; None for all images of the split.
        complete: Whether an image without labels is an error.

    Raises:
        UserError: The data set is missing or incomplete.
    """
    name = class_info(config).name
    root = layout.data_root(name, data_dir or DataKeys.of(config).data_dir)
    dataset = datasets.open(name, root, split, list_file, complete=complete)
    return replace(dataset, info=class_info(config, root))


def log_split(dataset: Dataset) -> None:
    """Log how many samples a split has, and which files of its folders are not used."""
    level = logging.WARNING if dataset.unused else logging.INFO
    LOG.log(level, '%s %s: %s', dataset.info.name, dataset.split, dataset.describe())


def first_samples(dataset: Dataset, limit: int | None) -> Dataset:
    """Return the data set with its first ``limit`` samples only; None keeps all."""
    return replace(dataset, samples=dataset.samples[:limit])
