"""Download, convert, check, measure and pack data sets.

    python -m datasets.prepare voc --download --check
    python -m datasets.prepare cityscapes -d DATA --convert --stats --pack PACKED
    python -m datasets.prepare cityscapes -d PACKED --check
    python -m datasets.prepare cityscapes --help

The actions run in the order of the first line above, whatever the order of the options. The exit
status is 1 if there are problems with files, and 2 if nothing could be done.
"""

import sys
from argparse import Namespace
from typing import Any

import datasets
from common import command, files, machine
from common.command import DONE, SOME_FAILED
from common.errors import UserError
from datasets.preparation.actions import ACTIONS, ActionContext
from datasets.preparation.outputs import check_outputs
from datasets.preparation.settings import PreparationSettings
from datasets.readers import layout


class _Parser(command.Parser):
    """A parser whose help lists all data sets, including those that ``--import`` registered."""

    def format_help(self) -> str:
        """Return the help with the list of data sets."""
        return f'{super().format_help()}\ndata sets: {", ".join(datasets.names())}\n'


def build_parser() -> command.Parser:
    """Return the parser of ``python -m datasets.prepare``."""
    parser = _Parser(
        'python -m datasets.prepare', description='Download, convert, check, measure or pack data.'
    )
    command.add_options(parser, PreparationSettings)
    return parser


def main(args: Namespace) -> int:
    """Run the actions that the command line names."""
    return prepare(command.settings(PreparationSettings, args))


def prepare(settings: PreparationSettings) -> int:
    """Run the actions that the settings name; returns the exit status."""
    chosen = [action for action in ACTIONS if getattr(settings, action)]
    if not chosen:
        raise UserError(f'nothing to do; name at least one of --{", --".join(ACTIONS)}')
    processes = _number_of_processes(settings.processes)
    datasets.reader(settings.name)  # raises now if the name is unknown
    split = _split_of_list(settings) if settings.list_file else settings.split
    root = layout.data_root(settings.name, settings.data_dir)
    splits = split or datasets.reader(settings.name).INFO.splits
    check_outputs(
        settings.name, root, settings.list_file, settings.pack, splits, settings.json_file
    )
    context = ActionContext(settings, root, split, processes)
    results: dict[str, Any] = {
        'dataset': settings.name,
        'root': str(root),
        'versions': machine.versions(),
    }
    failed = False
    for action in chosen:
        results[action], problems = ACTIONS[action](context)
        failed = failed or problems > 0
    if settings.json_file:
        files.write_json(settings.json_file, results)
    return SOME_FAILED if failed else DONE


def _number_of_processes(wanted: int | None) -> int:
    if wanted is None:
        return machine.cores()
    if wanted < 1:
        raise UserError(f'--processes {wanted}: at least 1 is needed')
    return wanted


def _split_of_list(settings: PreparationSettings) -> tuple[str, ...]:
    """Return the name for the split that a list file defines."""
    if len(settings.split) > 1:
        names = ' '.join(settings.split)
        raise UserError(f'--split {names}: --list takes one split name')
    if settings.download:
        raise UserError(
            '--list: not with --download, which fetches the whole data set; remove one of them'
        )
    return settings.split or ('train',)


if __name__ == '__main__':
    sys.exit(command.run_command(build_parser, main))
