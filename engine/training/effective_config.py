"""Build the effective config of a training: the user's config with all derived values filled in."""

import os
from pathlib import Path
from typing import Any

import models
from common import files
from common.errors import InputError
from common.log import LOG
from common.tasks import CLASSES
from datasets import Dataset
from datasets.keys import FLOW, IMAGE
from engine import config as configs
from engine.config import Config, task_classes
from engine.config.reading import WEIGHTS_KEY
from engine.inference.test_time import ProtocolKeys
from engine.runs.checkpoints import TrainingState
from engine.training import optimizer, resume
from engine.training.optimizer import MOMENTUM_FORM, SolverKeys
from engine.training.settings import TrainingSettings
from models import input_statistics
from models.family import NetworkKeys


def load(settings: TrainingSettings) -> Config:
    """Load the config of a training; options that correspond to keys override them.

    ``--resume`` without ``-cfg`` takes the config of the run that it resumes.

    Raises:
        UserError: The config or an override is invalid.
    """
    chosen = settings.config
    path = chosen.config_file or resume.own_config(settings)
    return configs.load(path, chosen.overrides, _options(settings))


def complete(
    config: Config, state: TrainingState | None, weights_url: str | None, data: Dataset
) -> Config:
    """Return the config with all that the run's own files are read with later.

    These are the input statistics, the form of momentum, what the first of two pictures is, and the
    names and colours of the classes.
    The key ``weights`` is left out: a run has its own weights.

    Args:
        config: The result of :func:`load`.
        state: The state of the resumed run; None for a new run.
        weights_url: The address to download published weights from; None for the default ones.
        data: The images of the training.

    Raises:
        UserError: The pretrained weights are missing or unreadable.
    """
    config = _without_other_sizes(config.without(WEIGHTS_KEY), data)
    config = _with_input_statistics(config, state, weights_url)
    network = models.describe(config)
    config = config.completed(input_statistics.of_info(network), f'the network {network.paper}')
    if network.inputs > 1:
        kind = FLOW if data.flow[0] else IMAGE
        config = config.completed({'input_kind': kind}, f'the data set {data.info.name}')
    if any(task.kind == CLASSES for task in network.tasks):
        config = config.completed(
            {'classes': data.info.classes, 'palette': data.info.palette},
            f'the data set {data.info.name}',
        )
    tables = task_classes.tables_of(data.info, task_classes.further_tasks(config))
    if tables:
        config = config.without(task_classes.KEY)  # the tables hold what it says
        config = config.completed({task_classes.KEY: tables}, f'the data set {data.info.name}')
    family = models.family_of(NetworkKeys.of(config).network)
    form = optimizer.momentum_form(SolverKeys.of(config), family.momentum_form)
    known = {MOMENTUM_FORM: form} if form else {}
    return config.completed(known, f'the family {family.name}')


def _without_other_sizes(config: Config, data: Dataset) -> Config:
    """Return the config without a ``trained_size`` that the first image has not.

    The key describes the weights that the config names. If the augmentation gives all images a
    size itself, the key belongs to that size.
    """
    trained = ProtocolKeys.of(config).trained_size
    if trained is None or any(key in config for key in ('base_size', 'resize_height')):
        return config
    try:
        if data.size(0) == trained:
            return config
    except InputError:  # the check of the data reports the image
        pass
    height, width = trained
    LOG.info('the run has no trained_size: its images are not of %dx%d pixels', width, height)
    return config.without('trained_size').without('test_trained_area')


def _options(settings: TrainingSettings) -> dict[str, tuple[str, Any]]:
    """Return the options that correspond to keys, so that the run's config records them too."""
    options: dict[str, tuple[str, Any]] = {}
    if settings.data_dir:
        options['data_dir'] = '-d', os.path.abspath(settings.data_dir)
    if settings.pretrained:
        there = files.kind_of(Path(settings.pretrained)) == 'file'
        name = os.path.abspath(settings.pretrained) if there else settings.pretrained
        options['pretrained'] = '-p', name
    if settings.recompute:
        options['recompute'] = '-r', settings.recompute
    return options


def _with_input_statistics(
    config: Config, state: TrainingState | None, weights_url: str | None
) -> Config:
    """Return the config with the input statistics that the pretrained weights were trained on.

    Statistics in the config take precedence. A resumed run reuses the statistics of its state.
    """
    keys = NetworkKeys.of(config if state is None else state.config)
    if keys.pretrained is None:
        return config
    if state is not None:
        known = {key: getattr(keys, key) for key in input_statistics.KEYS}
        given = {key: value for key, value in known.items() if value is not None}
        return config.completed(given, 'the state of the run')
    info = models.describe(config)
    path = models.weights.find_for(
        keys.network, info.num_classes, keys.pretrained, weights_url, info.structure
    )
    said = models.weights.input_statistics(path)
    chosen = input_statistics.resolve(info, said, keys, path)
    return config.completed(chosen or {}, str(path))
