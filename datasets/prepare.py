"""Data sets from the address to training: download, convert, check, measure and pack.

    python -m datasets.prepare voc --download --check
    python -m datasets.prepare cityscapes -d DATA --convert --stats --pack PACKED
    python -m datasets.prepare cityscapes -d PACKED --check
    python -m datasets.prepare cityscapes --help

What is named is done in this order. The exit status is 1 when files are wrong, 2 when nothing could
be done.
"""

import dataclasses
import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import datasets
from common import command, files, machine
from common.command import DONE, SOME_FAILED
from common.errors import UserError
from common.log import LOG
from common.tables import Column, lines
from datasets import DataError, Dataset, DatasetInfo
from datasets.info import IGNORE
from datasets.preparation import sources
from datasets.preparation.check import SplitReport, check
from datasets.preparation.convert import convert
from datasets.preparation.statistics import statistics
from datasets.readers import layout

NEEDED = ('train', 'val')  # the others are often not to be had


def build_parser() -> command.Parser:
    """The options of ``python -m datasets.prepare``."""
    parser = command.Parser(
        'python -m datasets.prepare', description='Download, convert, check, measure or pack data.'
    )
    add = parser.add_argument
    add('name', help='the data set, such as cityscapes')
    add('-d', '--data-dir', metavar='DIR', type=Path, help='its folder; default: data/NAME')
    add('--split', nargs='+', metavar='S', help='default: all there are; --stats, --list: train')
    add('--list', metavar='FILE', type=Path, help='a list of images and labels of its own')
    add('--download', action='store_true', help='fetch and unpack it, where that needs no account')
    add('--url', metavar='BASE', help='download from there; default: $NNSEG_DATA_URL, the authors')
    add('--keep-archives', action='store_true', help='do not delete what has been unpacked')
    add('--convert', action='store_true', help='write labels as PNG files of class indices')
    add(
        '--check',
        action='store_true',
        help='read everything, report problems and classes; of packed data: changed bytes, sources',
    )
    add('--stats', action='store_true', help='mean and deviation of the colours, class weights')
    add('--pack', metavar='FOLDER', type=Path, help='write memory-mapped arrays for fast training')
    add('--processes', type=int, metavar='N', help='default: as many as there are cores')
    add('--json', metavar='FILE', type=Path, help='write the results there, too')
    return parser


def main(args: Namespace) -> int:
    """Do what the options name; returns the exit status."""
    chosen = [action for action in ACTIONS if getattr(args, action)]
    if not chosen:
        raise UserError(f'nothing to do; name at least one of --{", --".join(ACTIONS)}')
    args.processes = _number_of_processes(args.processes)
    datasets.module(args.name)  # refuses an unknown one before the work
    if args.list:
        _check_list(args)
    args.data_dir = layout.data_root(args.name, args.data_dir)
    if args.json:
        files.check_writable(args.json)
    results = {'dataset': args.name, 'root': str(args.data_dir)}
    failed = False
    for action in chosen:
        results[action], problems = ACTIONS[action](args)
        failed = failed or problems > 0
    if args.json:
        with files.replacing(args.json) as temporary:
            temporary.write_text(json.dumps(results, indent=2) + '\n', encoding='utf-8')
    return SOME_FAILED if failed else DONE


def _number_of_processes(wanted: int | None) -> int:
    if wanted is None:
        return machine.cores()
    if wanted < 1:
        raise UserError(f'--processes {wanted}: at least 1 is needed')
    return wanted


def _check_list(args: Namespace):
    """A list is one split, under the name that is given."""
    args.split = args.split or ['train']
    if len(args.split) > 1:
        raise UserError(f'--split {" ".join(args.split)}: --list takes one name for its samples')
    if args.download:
        raise UserError('--list: --download fetches whole data sets; leave one of them out')


def _splits(args: Namespace, complete: bool = False) -> tuple[list[Dataset], int]:
    """The splits that the options name, else all that are there; and how many are not there that
    should be.

    complete: refuse images without a label, as for training.
    """
    found, missing = {}, []
    for split in args.split or datasets.info(args.name, args.data_dir).splits:
        try:
            dataset = datasets.open(args.name, args.data_dir, split, args.list, complete=complete)
        except DataError as error:
            if args.split:
                raise
            missing.append((split, error))
        else:
            found.setdefault(dataset.samples, dataset)  # two names may stand for the same files
    if not found:
        raise missing[0][1]
    for split, error in missing:
        LOG.info('%s is left out: %s', split, error)
    return list(found.values()), sum(split in NEEDED for split, _ in missing)


def _download(args: Namespace) -> tuple[dict, int]:
    sources.download(args.name, args.data_dir, args.url, args.keep_archives)
    return {'complete': True}, 0


def _convert(args: Namespace) -> tuple[dict, int]:
    results = {}
    splits, missing = _splits(args)
    for dataset in splits:
        outcome = convert(dataset, args.processes)
        results[dataset.split] = dataclasses.asdict(outcome)
        for problem in outcome.problems:
            print(problem)
        print(
            f'{args.name} {dataset.split}: {outcome.written} labels written, {outcome.kept} were '
            f'right already, {outcome.plain} need no conversion, {len(outcome.problems)} failed'
        )
    return results, missing + sum(len(result['problems']) for result in results.values())


def _check(args: Namespace) -> tuple[dict, int]:
    from datasets.loading import pack

    packed = pack.folders(args.data_dir)
    if packed:
        if args.list:
            raise UserError(f'--list: {args.data_dir} is packed, and checked as a whole')
        return _check_packed(packed, args)
    results = {}
    splits, missing = _splits(args)
    for dataset in splits:
        report = check(dataset, args.processes)
        results[dataset.split] = _report_as_json(report, dataset.info)
        for problem in report.problems:
            print(problem.message)
        count = len(report.problems) or 'no'
        print(f'{args.name} {dataset.split}: {report.samples} images, {count} problems')
        _print_table(
            ('class', 'pixels %', 'images'),
            [
                (name, f'{100 * facts["share"]:.3f}', facts['images'])
                for name, facts in results[dataset.split]['classes'].items()
            ],
        )
        print(f'ignored pixels: {100 * results[dataset.split]["ignored"]:.3f} %')
    return results, missing + sum(len(result['problems']) for result in results.values())


def _check_packed(folders: Sequence[Path], args: Namespace) -> tuple[dict, int]:
    """Compare packed folders with what they were made from, and their bytes with the checksums."""
    from datasets.loading import pack

    results, wanted, found = {}, set(args.split or ()), set()
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
            if dataset.info.name != args.name:
                raise DataError(f'{folder}: is packed {dataset.info.name}, not {args.name}')
            found.add(dataset.split)
            if wanted and dataset.split not in wanted:
                continue
            samples = len(dataset)
            sources = {path for sample in dataset for path in (sample.image, sample.label)}
            absent = sum(not path.exists() for path in sources)
            problems = dataset.verify(args.processes)
        for problem in problems:
            print(problem)
        print(f'{folder}: {samples} packed samples, {len(problems) or "no"} problems')
        if absent:
            print(f'{folder}: {absent} of the files it was made from are not there to compare')
        results[str(folder)] = {'samples': samples, 'absent': absent, 'problems': problems}
    if wanted - found:
        raise DataError(f'{args.data_dir}: no packed {", ".join(sorted(wanted - found))} there')
    return results, sum(len(result['problems']) for result in results.values())


def _report_as_json(report: SplitReport, info: DatasetInfo) -> dict:
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


def _stats(args: Namespace) -> tuple[dict, int]:
    results = {}
    for split in args.split or ['train']:
        dataset = datasets.open(args.name, args.data_dir, split, args.list)
        found = statistics(dataset, args.processes)
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
        print(f'{args.name} {dataset.split}: {found.samples} images; red, green, blue in 0..255')
        for name, values in (('mean', found.mean), ('std', found.std)):
            print(f'{name}: [{", ".join(f"{value:.3f}" for value in values)}]')
        rows = zip(classes, *weights.values())
        _print_table(
            ('weights', 'median frequency', 'ENet', 'inverse log'),
            [(name, *(f'{value:.4f}' for value in values)) for name, *values in rows],
        )
    return results, 0


def _pack(args: Namespace) -> tuple[dict, int]:
    from datasets.loading.pack import pack

    results = {}
    splits, missing = _splits(args, complete=True)
    for dataset in splits:
        if all(sample.label is None for sample in dataset):
            LOG.info('%s is left out: it has no labels', dataset.split)
            continue
        folder = args.pack / dataset.split
        pack(dataset, folder, args.processes)
        results[dataset.split] = str(folder)
        print(f'{args.name} {dataset.split}: packed into {folder}')
    return results, missing


def _print_table(heads: Sequence[str], rows: Sequence[Sequence[object]]):
    """Columns as wide as their contents; the first to the left, the others to the right."""
    columns = [Column(head, right=number > 0) for number, head in enumerate(heads)]
    print(*lines(columns, [[str(cell) for cell in row] for row in rows]), sep='\n')


# What can be done, in this order: a function each, which returns what --json tells of it, and the
# number of files that are wrong.
ACTIONS = {
    'download': _download,
    'convert': _convert,
    'check': _check,
    'stats': _stats,
    'pack': _pack,
}


if __name__ == '__main__':
    sys.exit(command.run(build_parser, main))
