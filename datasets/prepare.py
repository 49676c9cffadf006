"""Data sets from the address to training: download, convert, check, measure and pack.

    python -m datasets.prepare voc --download --check
    python -m datasets.prepare cityscapes -d DATA --convert --stats --pack PACKED
    python -m datasets.prepare cityscapes -d PACKED --check
    python -m datasets.prepare cityscapes --help

What is named is done in this order. The exit status is 1 when files are wrong, 2 when nothing could
be done.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import datasets
from common import command, files, machine
from common.command import DONE, SOME_FAILED
from common.errors import UserError
from common.log import LOG
from common.settings import flag, option
from common.tables import Column, lines
from datasets import DataError, Dataset, DatasetInfo, Sample
from datasets.info import IGNORE
from datasets.preparation import sources
from datasets.preparation.check import SplitReport, check
from datasets.preparation.convert import convert
from datasets.preparation.statistics import statistics
from datasets.readers import layout
from datasets.settings import DataSettings

NEEDED = ('train', 'val')  # the others are often not to be had


@dataclass(frozen=True)
class PreparationSettings(DataSettings):
    """What is done to a data set; the actions are done in the order of ``ACTIONS``."""

    split: tuple[str, ...] = option(
        '--split',
        nargs='+',
        default=(),
        metavar='S',
        help='default: all there are; --stats, --list: train',
    )
    download: bool = flag(
        '--download',
        help='fetch and unpack it, where that needs no account',
    )
    url: str | None = option(
        '--url', metavar='BASE', help='download from there; default: $NNSEG_DATA_URL, the authors'
    )
    keep_archives: bool = flag(
        '--keep-archives',
        help='do not delete what has been unpacked',
    )
    convert: bool = flag(
        '--convert',
        help='write labels as PNG files of class indices',
    )
    check: bool = flag(
        '--check',
        help='read everything, report problems and classes; of packed data: changed bytes, sources',
    )
    stats: bool = flag(
        '--stats',
        help='mean and deviation of the colours, class weights',
    )
    pack: Path | None = option(
        '--pack', metavar='FOLDER', type=Path, help='write memory-mapped arrays for fast training'
    )
    processes: int | None = option(
        '--processes', type=int, metavar='N', help='default: as many as there are cores'
    )
    json_file: Path | None = option(
        '--json', metavar='FILE', type=Path, help='write the results there, too'
    )


@dataclass(frozen=True)
class Work:
    """What the actions share, resolved from the settings.

    Attributes:
        settings: As given.
        root: The folder of the data set.
        split: The splits that are wanted by name; none means all there are.
        processes: How many work at once.
    """

    settings: PreparationSettings
    root: Path
    split: tuple[str, ...]
    processes: int

    @property
    def name(self) -> str:
        """The data set."""
        return self.settings.name


class _Parser(command.Parser):
    """Lists the data sets below the options, also those that ``--import`` has brought."""

    def format_help(self) -> str:
        return f'{super().format_help()}\ndata sets: {", ".join(datasets.names())}\n'


def build_parser() -> command.Parser:
    """Return the parser of ``python -m datasets.prepare``."""
    parser = _Parser(
        'python -m datasets.prepare', description='Download, convert, check, measure or pack data.'
    )
    command.add_options(parser, PreparationSettings)
    return parser


def main(args: Namespace) -> int:
    """Prepare what the command line says."""
    return prepare(command.settings(PreparationSettings, args))


def prepare(settings: PreparationSettings) -> int:
    """Do what the settings name; returns the exit status."""
    chosen = [action for action in ACTIONS if getattr(settings, action)]
    if not chosen:
        raise UserError(f'nothing to do; name at least one of --{", --".join(ACTIONS)}')
    processes = _number_of_processes(settings.processes)
    datasets.reader(settings.name)  # refuses an unknown one before the work
    split = _split_of_list(settings) if settings.list_file else settings.split
    root = layout.data_root(settings.name, settings.data_dir)
    if settings.json_file:
        files.check_writable(settings.json_file)
    work = Work(settings, root, split, processes)
    results: dict[str, Any] = {
        'dataset': settings.name,
        'root': str(root),
        'versions': machine.versions(),
    }
    failed = False
    for action in chosen:
        results[action], problems = ACTIONS[action](work)
        failed = failed or problems > 0
    if settings.json_file:
        with files.replacing(settings.json_file) as temporary:
            temporary.write_text(json.dumps(results, indent=2) + '\n', encoding='utf-8')
    return SOME_FAILED if failed else DONE


def _number_of_processes(wanted: int | None) -> int:
    if wanted is None:
        return machine.cores()
    if wanted < 1:
        raise UserError(f'--processes {wanted}: at least 1 is needed')
    return wanted


def _split_of_list(settings: PreparationSettings) -> tuple[str, ...]:
    """Return the name of the one split that a list is."""
    if len(settings.split) > 1:
        names = ' '.join(settings.split)
        raise UserError(f'--split {names}: --list takes one name for its samples')
    if settings.download:
        raise UserError('--list: --download fetches whole data sets; leave one of them out')
    return settings.split or ('train',)


def _splits(work: Work, complete: bool = False) -> tuple[list[Dataset], int]:
    """Return the splits that the options name, else all that are there; and how many are not there
    that should be.

    Args:
        work: Names them.
        complete: Refuse images without a label, as for training.
    """
    found: dict[tuple[Sample, ...], Dataset] = {}
    missing: list[tuple[str, DataError]] = []
    for split in work.split or datasets.info(work.name, work.root).splits:
        try:
            dataset = _open(work, split, complete)
        except DataError as error:
            if work.split:
                raise
            missing.append((split, error))
        else:
            found.setdefault(dataset.samples, dataset)  # two names may stand for the same files
    if not found:
        raise missing[0][1]
    for split, problem in missing:
        LOG.info('%s is left out: %s', split, problem)
    return list(found.values()), sum(split in NEEDED for split, _ in missing)


def _open(work: Work, split: str, complete: bool = True) -> Dataset:
    return datasets.open(work.name, work.root, split, work.settings.list_file, complete=complete)


def _download(work: Work) -> tuple[dict[str, Any], int]:
    settings = work.settings
    sources.download(settings.name, work.root, settings.url, settings.keep_archives)
    return {'complete': True}, 0


def _convert(work: Work) -> tuple[dict[str, Any], int]:
    results = {}
    splits, missing = _splits(work)
    for dataset in splits:
        outcome = convert(dataset, work.processes)
        results[dataset.split] = asdict(outcome)
        for problem in outcome.problems:
            print(problem)
        print(
            f'{work.name} {dataset.split}: {outcome.written} labels written, {outcome.kept} were '
            f'right already, {outcome.plain} need no conversion, {len(outcome.problems)} failed'
        )
    return results, missing + sum(len(result['problems']) for result in results.values())


def _check(work: Work) -> tuple[dict[str, Any], int]:
    from datasets.loading import pack

    packed = pack.folders(work.root)
    if packed:
        if work.settings.list_file:
            raise UserError(f'--list: {work.root} is packed, and checked as a whole')
        return _check_packed(packed, work)
    results = {}
    splits, missing = _splits(work)
    for dataset in splits:
        report = check(dataset, work.processes)
        results[dataset.split] = _report_as_json(report, dataset.info)
        for problem in report.problems:
            print(problem.message)
        count = len(report.problems) or 'no'
        print(f'{work.name} {dataset.split}: {report.samples} images, {count} problems')
        _print_table(
            ('class', 'pixels %', 'images'),
            [
                (name, f'{100 * facts["share"]:.3f}', facts['images'])
                for name, facts in results[dataset.split]['classes'].items()
            ],
        )
        print(f'ignored pixels: {100 * results[dataset.split]["ignored"]:.3f} %')
    return results, missing + sum(len(result['problems']) for result in results.values())


def _check_packed(folders: Sequence[Path], work: Work) -> tuple[dict[str, Any], int]:
    """Compare packed folders with what they were made from, and their bytes with the checksums."""
    from datasets.loading import pack

    results: dict[str, Any] = {}
    wanted, found = set(work.split), set[str]()
    for folder in folders:
        samples, absent = 0, 0
        try:
            dataset = pack.open(folder)
        except DataError as error:  # which split it is, only its name says
            found |= wanted if len(folders) == 1 else {folder.name}
            if wanted and len(folders) > 1 and folder.name not in wanted:
                continue
            problems = [str(error)]
        else:
            if dataset.info.name != work.name:
                raise DataError(f'{folder}: is packed {dataset.info.name}, not {work.name}')
            found.add(dataset.split)
            if wanted and dataset.split not in wanted:
                continue
            samples = len(dataset)
            sources = {path for sample in dataset for path in (sample.image, sample.label)}
            absent = sum(path is not None and not path.exists() for path in sources)
            problems = dataset.verify(work.processes)
        for problem in problems:
            print(problem)
        print(f'{folder}: {samples} packed samples, {len(problems) or "no"} problems')
        if absent:
            print(f'{folder}: {absent} of the files it was made from are not there to compare')
        results[str(folder)] = {'samples': samples, 'absent': absent, 'problems': problems}
    if wanted - found:
        raise DataError(f'{work.root}: no packed {", ".join(sorted(wanted - found))} there')
    return results, sum(len(result['problems']) for result in results.values())


def _report_as_json(report: SplitReport, info: DatasetInfo) -> dict[str, Any]:
    """Shares are of all pixels of the readable labels, ignored ones too."""
    total = max(int(report.pixels.sum()), 1)
    return {
        'samples': report.samples,
        'problems': [
            {'file': str(problem.file), 'kind': problem.kind, 'message': problem.message}
            for problem in report.problems
        ],
        'classes': {
            name: {
                'pixels': int(report.pixels[index]),
                'share': int(report.pixels[index]) / total,
                'images': int(report.images[index]),
            }
            for index, name in enumerate(info.classes)
        },
        'ignored': int(report.pixels[IGNORE]) / total,
    }


def _stats(work: Work) -> tuple[dict[str, Any], int]:
    results = {}
    for split in work.split or ['train']:
        dataset = _open(work, split)
        found = statistics(dataset, work.processes)
        weights = {
            'median_frequency': found.median_frequency(),
            'enet': found.enet(),
            'inverse_log': found.inverse_log(),
        }
        classes = dataset.info.classes
        results[dataset.split] = {
            'samples': found.samples,
            'mean': found.mean.tolist(),
            'std': found.std.tolist(),
            **{name: dict(zip(classes, values.tolist())) for name, values in weights.items()},
        }
        print(f'{work.name} {dataset.split}: {found.samples} images; red, green, blue in 0..255')
        for name, values in (('mean', found.mean), ('std', found.std)):
            print(f'{name}: [{", ".join(f"{value:.3f}" for value in values)}]')
        rows = zip(classes, *weights.values())
        _print_table(
            ('weights', 'median frequency', 'ENet', 'inverse log'),
            [(name, *(f'{value:.4f}' for value in values)) for name, *values in rows],
        )
    return results, 0


def _pack(work: Work) -> tuple[dict[str, Any], int]:
    from datasets.loading.pack import pack

    target = work.settings.pack
    assert target is not None  # else this action would not have been chosen
    results: dict[str, Any] = {}
    splits, missing = _splits(work, complete=True)
    for dataset in splits:
        if all(sample.label is None for sample in dataset):
            LOG.info('%s is left out: it has no labels', dataset.split)
            continue
        folder = target / dataset.split
        pack(dataset, folder, work.processes)
        results[dataset.split] = str(folder)
        print(f'{work.name} {dataset.split}: packed into {folder}')
    return results, missing


def _print_table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Columns as wide as their contents; the first to the left, the others to the right."""
    columns = [Column(head, right=number > 0) for number, head in enumerate(heads)]
    print(*lines(columns, [[str(cell) for cell in row] for row in rows]), sep='\n')


# What can be done, in this order: a function each, which returns what --json tells of it, and the
# number of files that are wrong.
ACTIONS: dict[str, Callable[[Work], tuple[dict[str, Any], int]]] = {
    'download': _download,
    'convert': _convert,
    'check': _check,
    'stats': _stats,
    'pack': _pack,
}


if __name__ == '__main__':
    sys.exit(command.run_command(build_parser, main))
