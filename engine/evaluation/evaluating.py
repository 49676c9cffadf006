"""Evaluate a network on a data set, from the settings to the report."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from common.command import DONE
from common.errors import UserError
from common.log import LOG
from datasets import Dataset
from datasets.keys import DataKeys, ImageReading
from engine.config.config import Config
from engine.config.data import (
    check_classes,
    check_further_classes,
    data_root,
    first_samples,
    open_dataset,
)
from engine.distributed.processes import Processes, joined
from engine.evaluation import (
    evaluator,
    outputs,
    scenes,
    score_table,
    seen_images,
    target_checks,
    task_evaluator,
    turned_images,
)
from engine.evaluation.evaluator import Evaluator
from engine.evaluation.provenance import Provenance
from engine.evaluation.score_keys import ScoreKeys
from engine.evaluation.settings import EvaluationSettings
from engine.evaluation.task_evaluator import TaskEvaluator
from engine.inference import file_network, test_time
from engine.inference.input_files import network_files
from engine.inference.loading import LoadedNetwork
from engine.inference.scene import Picture
from engine.inference.segmenter import Segmenter
from engine.inference.test_time import Protocol, ProtocolKeys


def evaluate(settings: EvaluationSettings) -> int:
    """Evaluate a network in all processes of the job, and print the scores.

    Returns:
        The exit status.

    Raises:
        UserError: The settings cannot be met, or a file of the data set cannot be used.
    """
    with joined() as processes:
        with processes.log_on_rank_0():
            options = {'data_dir': ('-d', settings.data_dir)} if settings.data_dir else {}
            config = file_network.load_config(
                settings.config.config_file, settings.config.overrides, settings.weights, options
            )
            protocol = test_time.choose_protocol(settings.protocol, ProtocolKeys.of(config))
            root = data_root(config, settings.data_dir)
            dataset = _dataset(settings, config)
            with config.naming_origins():
                keys = ScoreKeys.of(config)
                weights = keys.weights_of(dataset.tasks)
            dataset.log_counts()
            protected = network_files(config, settings.weights, settings.backend.calibration)
            outputs.check(settings, protected, dataset, root)
            segmenter = Segmenter.of_settings(
                config,
                settings.weights,
                settings.device,
                settings.backend,
                protocol,
                gpu=processes.local_rank,
                data_dir=root,
            )
            network = segmenter.network
            _check_order(network, config, root)
            dataset = replace(dataset, info=network.info)
        _check_same_weights(network, processes)
        counts: Evaluator | TaskEvaluator | None = None
        if settings.format_only is None:
            counts = task_evaluator.accumulator_of(dataset, keys, settings.boundary)
            target_checks.check_targets(dataset, processes)
            if not processes.rank:
                seen_images.warn_of_trained(network.weights, dataset)
        turned_images.warn([dataset], processes)  # a test server has labels, too
        LOG.info('segmenting %d images of %s', len(dataset), dataset.split)
        written = outputs.Outputs(settings, dataset, weights)
        _predict(segmenter, dataset, processes, written.consumers, counts)
        written.add_up(processes)
        shown = []
        if counts is not None:
            counts.add_up(processes)
            used = set[str]().union(*processes.gather(network.predictor.backend.used))
            report = counts.report(dataset.info)
            if processes.rank == 0:
                origin = _provenance(settings, network, dataset, root, protocol, used)
                facts = _facts(settings, network, origin, dataset.reading)
                written.write_scores(report, facts)
                table = score_table.format_tasks if dataset.tasks else score_table.format_table
                shown = [table(report), origin.line(report['images'])]
        if processes.rank == 0:
            print('\n'.join([*shown, *written.lines]))
            if written.failures:  # a full disk loses no scores
                raise UserError('; '.join(written.failures))
        return DONE


def _predict(
    segmenter: Segmenter,
    dataset: Dataset,
    processes: Processes,
    consumers: Sequence[Callable[[Any], None]],
    counts: Evaluator | TaskEvaluator | None,
) -> None:
    """Predict this process's shard of the split, and hand on the results."""
    if dataset.tasks:
        assert not isinstance(counts, Evaluator)
        scenes.predict_shard(segmenter.task_maps, dataset, processes, consumers, counts)
        return
    assert not isinstance(counts, TaskEvaluator)

    def labels(image: Picture) -> np.ndarray:
        return segmenter.classes_of(image).labels

    evaluator.predict_shard(labels, dataset, processes, consumers, counts)


def _dataset(settings: EvaluationSettings, config: Config) -> Dataset:
    """Open the data set to evaluate; missing labels are an error unless nothing is scored."""
    split = settings.split or DataKeys.of(config).val_split
    scored = settings.format_only is None
    dataset = open_dataset(config, split, settings.data_dir, settings.list_file, complete=scored)
    dataset = first_samples(dataset, settings.limit)
    names = [task.name for task in dataset.tasks]
    unlabelled = [
        (sample.image, name)
        for sample in dataset
        for name in names or ['label']
        if (sample.target(name) if names else sample.label) is None
    ]
    if scored and unlabelled:
        image, lacking = unlabelled[0]
        raise UserError(
            f'{image} has no {lacking}, so the split {split} cannot be scored; '
            '--format-only DIR writes predictions for the test server, infer.py writes pictures'
        )
    return dataset


def _check_order(network: LoadedNetwork, config: Config, root: Path) -> None:
    """Compare the classes of the weights and of the config with those of the data set.

    Raises:
        UserError: The data set has the same classes in another order.
    """
    named = DataKeys.of(config).classes
    stored = None if network.classes is None else network.classes.names
    remedy = 'pass weights that were trained on it with -m, or data in that order with -d'
    check_classes(stored, f'the weights {network.weights}', config, root, remedy)
    if named != stored:
        check_classes(named, f'the config {config.origin("classes")}', config, root, remedy)
    check_further_classes(config, root, remedy)


def _check_same_weights(network: LoadedNetwork, processes: Processes) -> None:
    """Raise ``UserError`` if a training has replaced the weights while the processes read them."""
    if len(set(processes.gather(network.sha256))) > 1:
        raise UserError(
            f'{network.weights}: changed while it was read, so the processes have different '
            'weights; evaluate again, or a file that no training writes'
        )


def _provenance(
    settings: EvaluationSettings,
    network: LoadedNetwork,
    dataset: Dataset,
    root: Path,
    protocol: Protocol,
    used: set[str],
) -> Provenance:
    """Return the origin of the scores; ``used``: names of the backends that ran."""
    return Provenance(
        weights=network.weights,
        sha256=network.sha256,
        dataset=dataset.info.name,
        data_dir=root,
        split=dataset.split,
        list_file=settings.list_file,
        protocol=network.predictor.described(protocol),
        backend=', '.join(sorted(used)),
        precision=network.precision,
    )


def _facts(
    settings: EvaluationSettings,
    network: LoadedNetwork,
    origin: Provenance,
    reading: ImageReading,
) -> dict[str, Any]:
    """Return all facts that the scores depend on."""
    return {
        'config': network.config.name,
        'config_file': str(network.config.path),
        'overrides': list(settings.config.overrides),
        **origin.facts(),
        'partial': settings.weights.partial,
        'limit': settings.limit,
        **reading.conversion,
        'context': network.choice.name,
        'type_config': network.choice.type_config,
        'threads': network.predictor.backend.threads,
        'calibration': network.calibration and network.calibration.describe(),
    }
