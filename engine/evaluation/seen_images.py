"""Warn when a network is scored on images that it was trained on."""

from pathlib import Path

from common.errors import UserError
from common.files import kind_of
from common.log import LOG
from datasets import Dataset
from datasets.keys import DataKeys
from datasets.label_scan import place_of
from datasets.overlap import describe_shared, shared_images
from engine.config import loading as configs
from engine.config.data import open_dataset
from engine.runs.run_folder import RunFolder


def warn_of_shared(training: Dataset, scored: Dataset) -> None:
    """Warn if images of a scored split are in the training split, too."""
    pairs = shared_images(training, scored)
    if pairs:
        LOG.warning(
            '%s: %d of %d images are trained on as well (%s), so its scores say little about '
            'other images',
            place_of(scored),
            len(pairs),
            len(scored),
            describe_shared(pairs, scored.root),
        )


def warn_of_trained(weights: Path | str, scored: Dataset) -> None:
    """Warn if weights from a run folder were trained on images of a split that they score.

    The folder's config tells the training split. If that cannot be opened any more, its name
    decides.

    Args:
        weights: The file of weights; words for others, of which nothing is known.
        scored: The split.
    """
    if isinstance(weights, str):
        return
    config_file = RunFolder(weights.parent).config
    if kind_of(config_file) != 'file':
        return
    try:
        config = configs.load(config_file)
    except UserError:  # of another version of the project; it only serves this warning
        return
    keys = DataKeys.of(config)
    try:
        training = open_dataset(config, keys.train_split, complete=False)
    except UserError:
        if (keys.dataset, keys.train_split) == (scored.info.name, scored.split):
            LOG.warning('%s: %s was trained on a split of this name', place_of(scored), weights)
        return
    warn_of_shared(training, scored)
