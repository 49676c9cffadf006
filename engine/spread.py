"""The files of infer.py and the samples of evaluate.py in the processes of :mod:`engine.pool`."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from datasets import Dataset, Info
from engine import evaluation_outputs, inference, pool
from engine.evaluator import Evaluator, Stages
from engine.inference import Outcome
from engine.model_options import Loaded
from engine.planning import Options, Pair, Plan
from engine.pool import Job
from engine.protocols import Protocol


def files(
    args: argparse.Namespace, network: Loaded, info: Info, plan: Plan, options: Options
) -> Callable[[Sequence[Pair]], Iterator[Outcome]] | None:
    """What does the files of a plan in ``--processes``; None: this process alone.

    Raises ``UserError`` for an option that makes no sense.
    """
    images = [item.path for item, _ in plan.pairs if not item.is_video]
    count = pool.count(args.processes, network, options.protocol, len(plan.pairs), images)
    if count == 1:
        return None
    job = Job(args, _file, (info, replace(options, progress=False)))
    alone = partial(inference.all_outcomes, network.predictor, info, options)
    return partial(pool.spread, job=job, processes=count, alone=alone)


def _file(network: Loaded, settings: tuple[Info, Options], pair: Pair) -> Outcome:
    info, options = settings
    return inference.outcome(network.predictor, info, *pair, options)


@dataclass(frozen=True)
class Samples:
    """What is done with each sample of a data set. folders: of the outputs, by option. scored:
    the arguments of an :class:`engine.evaluator.Evaluator`; None where nothing is counted.
    """

    dataset: Dataset
    protocol: Protocol
    folders: dict[str, Path]
    scored: tuple[int, bool] | None


def samples(
    args: argparse.Namespace, network: Loaded, work: Samples
) -> Iterator[Evaluator | None] | None:
    """The counts of each sample of a data set, from ``--processes``; None: this process alone.

    Raises ``UserError`` for an option that makes no sense.
    """
    dataset = work.dataset
    images = [sample.image for sample in dataset]
    count = pool.count(args.processes, network, work.protocol, len(dataset), images)
    if count == 1:
        return None
    alone = partial(map, partial(_sample, network, work))
    return pool.spread(range(len(dataset)), Job(args, _sample, work), count, alone)


def _sample(network: Loaded, work: Samples, index: int) -> Evaluator | None:
    counts = None if work.scored is None else Evaluator(*work.scored)
    outputs = evaluation_outputs.writers(work.dataset, work.folders)
    Stages(network.predictor, work.dataset, work.protocol, outputs, counts).all(index)
    return counts
