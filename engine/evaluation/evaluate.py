"""evaluate.py from its options to its report."""

import json
from collections.abc import Mapping

from common import files
from common.command import DONE
from common.errors import UserError
from common.machine import versions
from datasets import Dataset
from engine import config as configs
from engine import options
from engine.config.data import first_samples, open_dataset
from engine.distributed.processes import Processes, joined
from engine.evaluation import evaluator, image_outputs
from engine.inference import test_time
from engine.inference.test_time import Protocol
from engine.options import Loaded

WRITERS = {  # what writes into the folder of an option
    'visualize': image_outputs.pictures,
    'save_labels': image_outputs.class_indices,
    'format_only': image_outputs.submission,
}


def run(args) -> int:
    """Evaluate as the options say, in all processes of the job; returns the exit status."""
    with joined() as processes:
        with processes.in_unison():
            _check_options(args)
            config = configs.load(args.config_file, args.set)
            protocol = test_time.choose(args, config)
            dataset = _dataset(args, config)
            outputs = _outputs(args, dataset)
            network = options.load(args, config, processes.local_rank)
        counts = None
        if args.format_only is None:
            counts = evaluator.Evaluator(len(dataset.info.classes), args.boundary)
            evaluator.check(dataset, processes)
        evaluator.run(network.predictor, dataset, protocol, processes, outputs, counts)
        if counts is not None:
            counts.add_up(processes)
            used = set().union(*processes.gather(network.predictor.backend.used))
            report = counts.report(dataset.info)
            _report(args, report, processes, network, dataset, protocol, used)
        return DONE


def _check_options(args):
    if args.limit is not None and args.limit < 1:
        raise UserError(f'--limit must be at least 1, not {args.limit}')
    scores = [name for name in ('json', 'boundary') if getattr(args, name)]
    if args.format_only and scores:
        raise UserError(f'--format-only computes no scores; leave out --{scores[0]}')


def _dataset(args, config: Mapping) -> Dataset:
    """What is to be evaluated; without labels only where there is nothing to score."""
    split = args.split or config.get('val_split', 'val')
    scored = args.format_only is None
    dataset = open_dataset(config, split, args.data_dir, args.list, complete=scored)
    dataset = first_samples(dataset, args.limit)
    unlabelled = [sample.image for sample in dataset if sample.label is None]
    if scored and unlabelled:
        raise UserError(
            f'{unlabelled[0]} has no label, so the split {split} cannot be scored; '
            '--format-only DIR writes predictions for the test server, and infer.py pictures'
        )
    return dataset


def _outputs(args, dataset: Dataset) -> list[evaluator.Output]:
    """What is written for every image; all places are tried first."""
    outputs = []
    for option, writer in WRITERS.items():
        folder = getattr(args, option)
        if folder is not None:
            files.check_writable(folder / 'x')
            outputs.append(writer(dataset, folder))
    image_outputs.check_targets(dataset, outputs)
    if args.json:
        files.check_writable(args.json)
    return outputs


def _report(
    args,
    report: dict,
    processes: Processes,
    network: Loaded,
    dataset: Dataset,
    protocol: Protocol,
    used: set[str],
):
    """Print the scores, and write them with all that they depend on; rank 0 does. used: the
    backends that have computed maps.
    """
    if processes.rank:
        return
    print(evaluator.table(report))
    if args.json:
        settings = {
            'config': network.config.name,
            'overrides': args.set,
            'weights': network.weights.name,
            'sha256': files.sha256_of(network.weights),
            'partial': args.partial,
            'dataset': dataset.info.name,
            'split': dataset.split,
            'list': args.list,
            'limit': args.limit,
            'protocol': protocol.describe(),
            'context': network.choice.name,
            'type_config': network.choice.type_config,
            'backend': ', '.join(sorted(used)),
            'threads': network.predictor.backend.threads,
            'precision': args.precision,
            'calibration': network.calibration and network.calibration.describe(),
        }
        document = {**report, 'settings': settings, 'versions': versions()}
        with files.replacing(args.json) as temporary:
            temporary.write_text(json.dumps(document, indent=2) + '\n')
