"""The data set of a config: where it is, and what its classes are called."""

import os
from dataclasses import replace

import datasets
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
    """A split of the config's data set, with the config's names and colours of classes.

    The root is ``data_dir``, else the config's, else ``data/<data set>`` in the working directory
    or the project. complete: images without labels are an error. Raises ``UserError``.
    """
    name = class_info(config).name
    root = layout.data_root(name, data_dir or DataKeys.of(config).data_dir)
    dataset = datasets.open(name, root, split, list_file, complete=complete)
    return replace(dataset, info=class_info(config, root))


def first_samples(dataset: Dataset, limit: int | None) -> Dataset:
    """The data set cut to its first ``limit`` samples."""
    return replace(dataset, samples=dataset.samples[:limit])
