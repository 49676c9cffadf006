"""Evaluate a network on a data set, from the settings to the report."""

import json
from pathlib import Path
from typing import Any

from common import files
from common.command import DONE
from common.errors import UserError
from common.machine import versions
from datasets import Dataset
from datasets.keys import DataKeys
from engine.config import loading as configs
from engine.config.data import first_samples, open_dataset
from engine.config.loading import Config
from engine.distributed.processes import joined
from engine.evaluation import evaluator, image_outputs
from engine.evaluation.settings import EvaluationSettings
from engine.inference import test_time
from engine.inference.loading import LoadedNetwork, load
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
            config = configs.load(settings.config.config_file, settings.config.overrides, options)
            protocol = test_time.choose_protocol(settings.protocol, ProtocolKeys.of(config))
            dataset = _dataset(settings, config)
            outputs = _outputs(settings, dataset)
            network = load(
                config,
                settings.weights,
                settings.device,
                settings.backend,
                gpu=processes.local_rank,
                data_dir=settings.data_dir,
            )
        counts = None
        if settings.format_only is None:
            counts = evaluator.Evaluator(len(dataset.info.classes), settings.boundary)
            evaluator.check_labels(dataset, processes)
        evaluator.predict_shard(network.predictor, dataset, protocol, processes, outputs, counts)
        if counts is not None:
            counts.add_up(processes)
            used = set[str]().union(*processes.gather(network.predictor.backend.used))
            report = counts.report(dataset.info)
            if processes.rank == 0:
                print(evaluator.format_table(report))
                if settings.json:
                    facts = _facts(settings, network, dataset, protocol, used)
                    _write(settings.json, {**report, 'settings': facts, 'versions': versions()})
        return DONE


def _dataset(settings: EvaluationSettings, config: Config) -> Dataset:
    """Open the data set to evaluate; missing labels are an error unless nothing is scored."""
    split = settings.split or DataKeys.of(config).val_split
    scored = settings.format_only is None
    dataset = open_dataset(config, split, settings.data_dir, settings.list_file, complete=scored)
    dataset = first_samples(dataset, settings.limit)
    unlabelled = [sample.image for sample in dataset if sample.label is None]
    if scored and unlabelled:
        raise UserError(
            f'{unlabelled[0]} has no label, so the split {split} cannot be scored; '
            '--format-only DIR writes predictions for the test server, infer.py writes pictures'
        )
    return dataset


def _outputs(settings: EvaluationSettings, dataset: Dataset) -> list[evaluator.Output]:
    """Return the outputs of every image, after a check that all paths are writable."""
    writers = (
        (settings.visualize, image_outputs.pictures),
        (settings.save_labels, image_outputs.class_indices),
        (settings.format_only, image_outputs.submission),
    )
    outputs = []
    for folder, writer in writers:
        if folder is not None:
            files.check_writable(folder / 'x')
            outputs.append(writer(dataset, folder))
    image_outputs.check_targets(dataset, outputs)
    if settings.json:
        files.check_writable(settings.json)
    return outputs


def _facts(
    settings: EvaluationSettings,
    network: LoadedNetwork,
    dataset: Dataset,
    protocol: Protocol,
    used: set[str],
) -> dict[str, Any]:
    """Return all facts that the scores depend on; ``used``: names of the backends that ran."""
    return {
        'config': network.config.name,
        'overrides': list(settings.config.overrides),
        'weights': network.weights.name,
        'sha256': files.sha256_of(network.weights),
        'partial': settings.weights.partial,
        'dataset': dataset.info.name,
        'split': dataset.split,
        'list': settings.list_file,
        'limit': settings.limit,
        'protocol': protocol.describe(),
        'context': network.choice.name,
        'type_config': network.choice.type_config,
        'backend': ', '.join(sorted(used)),
        'threads': network.predictor.backend.threads,
        'precision': settings.backend.precision,
        'calibration': network.calibration and network.calibration.describe(),
    }


def _write(path: Path, document: dict[str, Any]) -> None:
    with files.replacing(path) as temporary:
        temporary.write_text(json.dumps(document, indent=2) + '\n')
