"""The config that a training runs with: the user's, completed by what follows from it."""

import os
from pathlib import Path
from typing import Any

import models
from common import files
from engine import config as configs
from engine.config import Config
from engine.runs.checkpoints import TrainingState
from engine.training import optimizer
from engine.training.optimizer import MOMENTUM_FORM, SolverKeys
from engine.training.settings import TrainingSettings
from models import input_statistics
from models.family import NetworkKeys


def load(settings: TrainingSettings) -> Config:
    """Load the config of a training; options that stand for keys override it.

    Raises:
        UserError: The config or an override is wrong.
    """
    chosen = settings.config
    return configs.load(chosen.config_file, chosen.overrides, _options(settings))


def completed(config: Config, state: TrainingState | None, weights_url: str | None) -> Config:
    """Complete a config by the statistics of the input and the form of momentum.

    Args:
        config: As :func:`load` returns it.
        state: Of the run that goes on; None to start one.
        weights_url: The address to download published weights from.

    Raises:
        UserError: The weights to start from cannot be found or read.
    """
    config = _with_input_statistics(config, state, weights_url)
    family = models.family_of(NetworkKeys.of(config).network)
    form = optimizer.momentum_form(SolverKeys.of(config), family.momentum_form)
    known = {MOMENTUM_FORM: form} if form else {}
    return config.completed(known, f'the family {family.name}')


def _options(settings: TrainingSettings) -> dict[str, tuple[str, Any]]:
    """Return the options that stand for keys, so that the run's config has them too."""
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
    """Return the config with the statistics of the input that the weights to start from were
    trained on, unless it says its own; a run that goes on keeps those of its state.
    """
    keys = NetworkKeys.of(config if state is None else state.config)
    if keys.pretrained is None:
        return config
    if state is not None:
        known = {key: getattr(keys, key) for key in input_statistics.KEYS}
        given = {key: value for key, value in known.items() if value is not None}
        return config.completed(given, 'the state of the run')
    path = models.weights.find(keys.pretrained, weights_url)
    said = models.weights.input_statistics(path)
    chosen = input_statistics.resolve(models.describe(config), said, keys, path)
    return config.completed(chosen or {}, str(path))
