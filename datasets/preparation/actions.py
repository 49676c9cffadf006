"""The actions of ``python -m datasets.prepare``: each prints its results and returns them."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import datasets
from common.errors import UserError
from common.log import LOG
from common.terminal import streams
from common.terminal.printable import one_line
from datasets import DataError, Dataset, Sample, label_scan, turned
from datasets.info import EmptySplitError
from datasets.preparation import scene_actions, sources
from datasets.preparation.check import SplitReport, check_split
from datasets.preparation.convert import convert_labels
from datasets.preparation.printing import count_of_problems, print_classes, print_statistics
from datasets.preparation.settings import PreparationSettings
from datasets.preparation.statistics import compute_statistics
from datasets.samples import count_of

REQUIRED_SPLITS = ('train', 'val')  # other splits are often not available


@dataclass(frozen=True)
class ActionContext:
    """The settings of a run with all defaults resolved; every action receives it.

    Attributes:
        settings: The options of the command line.
        root: The folder of the data set.
        split: Names of the requested splits; empty for all that exist.
        processes: Number of worker processes.
    """

    settings: PreparationSettings
    root: Path
    split: tuple[str, ...]
    processes: int

    @property
    def name(self) -> str:
        """Name of the data set."""
        return self.settings.name

    @property
    def is_unread(self) -> bool:
        """Whether results that are only printed are lost, as after ``| head``."""
        return self.settings.json_file is None and streams.output_is_lost()


def _splits(context: ActionContext, complete: bool = False) -> tuple[list[Dataset], int]:
    """Return the requested splits, or all that exist, and the number of missing required splits.

    Args:
        context: The run, with the names of the requested splits.
        complete: Refuse images without a label, as for training.
    """
    found: dict[tuple[Sample, ...], Dataset] = {}
    missing: list[tuple[str, DataError]] = []
    for split in context.split or datasets.info(context.name, context.root).splits:
        try:
            dataset = _open(context, split, complete)
        except DataError as error:
            if context.split:
                raise
            missing.append((split, error))
        else:
            found.setdefault(dataset.samples, dataset)  # two names may mean the same files
    if not found:
        raise missing[0][1]
    for split, problem in missing:
        if split not in REQUIRED_SPLITS and isinstance(problem, EmptySplitError):
            LOG.info('%s: no images, skipped', split)
        else:
            LOG.info('%s is skipped: %s', split, problem)
    return list(found.values()), sum(split in REQUIRED_SPLITS for split, _ in missing)


def _open(context: ActionContext, split: str, complete: bool = True) -> Dataset:
    settings = context.settings
    return datasets.open(
        context.name,
        context.root,
        split,
        settings.list_file,
        complete=complete,
        reading=settings.reading,
        wanted=settings.wanted(datasets.info(context.name, context.root)),
    )


def _download(context: ActionContext) -> tuple[dict[str, Any], int]:
    settings = context.settings
    sources.download(settings.name, context.root, settings.url, settings.keep_archives)
    return {'complete': True}, 0


def _convert(context: ActionContext) -> tuple[dict[str, Any], int]:
    results = {}
    splits, missing = _splits(context)
    for dataset in splits:
        outcome = convert_labels(dataset, context.processes)
        results[dataset.split] = asdict(outcome)
        for problem in outcome.problems:
            print(one_line(problem))
        print(
            f'{context.name} {dataset.split}: {outcome.written} labels written, {outcome.kept} '
            f'were up to date, {outcome.plain} need no conversion, {len(outcome.problems)} failed'
        )
    return results, missing + sum(len(result['problems']) for result in results.values())


def _check(context: ActionContext) -> tuple[dict[str, Any], int]:
    from datasets.loading import pack

    packed = pack.packed_folders(context.root)
    if packed:
        if context.settings.list_file:
            raise UserError(
                f'--list: {context.root} is packed and can only be checked as a whole; omit --list'
            )
        return _check_packed(packed, context)
    results = {}
    splits, missing = _splits(context)
    _warn_of_turned(splits)
    total = label_scan.LabelScan()
    of_tasks: dict[str, label_scan.LabelScan] = {}
    for dataset in splits:
        if context.is_unread:
            break
        if dataset.tasks or len(dataset.flow) > 1:
            results[dataset.split] = scene_actions.check(dataset, context.processes, of_tasks)
            continue
        report = check_split(dataset, context.processes, total)
        total += report.scan
        results[dataset.split] = facts = report.as_json(dataset)
        _print_report(dataset, report, facts)
    return results, missing + sum(len(result['problems']) for result in results.values())


def _print_report(dataset: Dataset, report: SplitReport, facts: dict[str, Any]) -> None:
    """Print what is in a split; ``facts``: the same report for JSON."""
    for problem in report.problems:
        print(one_line(problem.message))
    counts = f'{count_of(report.samples, "image")}, {count_of_problems(len(report.problems))}'
    print(f'{dataset.info.name} {dataset.split}: {counts}')
    print(dataset.describe())
    print_classes(facts)


def _check_packed(folders: Sequence[Path], context: ActionContext) -> tuple[dict[str, Any], int]:
    """Verify the checksums of packed folders and compare their sources with the index."""
    from datasets.loading import pack

    results: dict[str, Any] = {}
    wanted, found = set(context.split), set[str]()
    for folder in folders:
        samples, absent, missing = 0, 0, list[str]()
        try:
            dataset = pack.open(folder)
        except DataError as error:  # the folder name alone shows which split it is
            found |= wanted if len(folders) == 1 else {folder.name}
            if wanted and len(folders) > 1 and folder.name not in wanted:
                continue
            problems = [str(error)]
        else:
            if dataset.info.name != context.name:
                raise DataError(f'{folder}: holds packed {dataset.info.name}, not {context.name}')
            dataset.require(context.settings.reading)
            found.add(dataset.split)
            if wanted and dataset.split not in wanted:
                continue
            samples = len(dataset)
            sources = {path for sample in dataset for path in (sample.image, sample.label)}
            absent = sum(path is not None and not path.exists() for path in sources)
            problems = dataset.verify(context.processes)
            if not problems:
                scan = label_scan.scan_labels(dataset, context.processes)
                missing = scan.missing_classes(dataset.info)
        for problem in problems:
            print(one_line(problem))
        counts = f'{count_of(samples, "packed sample")}, {count_of_problems(len(problems))}'
        print(f'{folder}: {counts}')
        if missing:
            LOG.warning('%s: classes without a pixel: %s', folder, ', '.join(missing))
        if absent:
            print(f'{folder}: {absent} of its source files are missing and were not compared')
        results[str(folder)] = {
            'samples': samples,
            'absent': absent,
            'problems': problems,
            'without_pixels': missing,
        }
    if wanted - found:
        raise DataError(f'{context.root}: no packed {", ".join(sorted(wanted - found))} here')
    return results, sum(len(result['problems']) for result in results.values())


def _stats(context: ActionContext) -> tuple[dict[str, Any], int]:
    results = {}
    for split in context.split or ['train']:
        if context.is_unread:
            break
        dataset = _open(context, split)
        dataset.log_counts()
        _warn_of_turned([dataset])
        if dataset.tasks:
            results[dataset.split] = scene_actions.stats(dataset, context.processes)
            continue
        found = compute_statistics(dataset, context.processes)
        results[dataset.split] = print_statistics(dataset, found)
    return results, 0


def _pack(context: ActionContext) -> tuple[dict[str, Any], int]:
    from datasets.loading.pack import pack

    target = context.settings.pack
    assert target is not None  # otherwise this action would not have been chosen
    results: dict[str, Any] = {}
    judge = label_scan.SplitJudge()
    splits, missing = _splits(context, complete=True)
    _warn_of_turned(splits)
    for dataset in splits:
        if not any(sample.has_targets for sample in dataset):
            LOG.info('%s is skipped: it has no labels', dataset.split)
            continue
        folder = target / dataset.split
        dataset.log_counts()
        pack(dataset, folder, context.processes, judge)
        results[dataset.split] = str(folder)
        print(f'{context.name} {dataset.split}: packed into {folder}')
    return results, missing


def _warn_of_turned(splits: Sequence[Dataset]) -> None:
    found = []
    for dataset in splits:
        labelled = [i for i, sample in enumerate(dataset) if sample.has_targets]
        found.append((dataset, turned.turned_images(dataset, labelled)))
    turned.warn(found, '--exif-orientation {0} (config key: exif_orientation)')


# The actions in the order in which they run. Each function returns the results for --json and the
# number of problems: bad files and missing splits.
ACTIONS: dict[str, Callable[[ActionContext], tuple[dict[str, Any], int]]] = {
    'download': _download,
    'convert': _convert,
    'check': _check,
    'stats': _stats,
    'pack': _pack,
}
