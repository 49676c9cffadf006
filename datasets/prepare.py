"""Download, convert, check, measure and pack data sets.

    python -m datasets.prepare voc --download --check
    python -m datasets.prepare cityscapes -d DATA --convert --stats --pack PACKED
    python -m datasets.prepare cityscapes -d PACKED --check
    python -m datasets.prepare cityscapes --help

The actions run in the order of the first line above, whatever the order of the options. The exit
status is 1 if there are problems with files, and 2 if nothing could be done.

Forms of the command for own data, which the reader ``folder`` reads, each with its ``--help``:

    python -m datasets.prepare init -d DATA                    # dataset.yaml, from the masks
    python -m datasets.prepare polygons ANNOTATIONS -d DATA    # masks, from LabelMe, CVAT or COCO
    python -m datasets.prepare split -d DATA                   # train.txt and val.txt
    python -m datasets.prepare flow FRAMES -o FLOW             # optical flow between frames
"""

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from textwrap import fill
from typing import Any

import datasets
from common import command, files, machine
from common.command import DONE, SOME_FAILED
from common.errors import UserError
from datasets.preparation.actions import ACTIONS, ActionContext
from datasets.preparation.describing.init import describe_data
from datasets.preparation.describing.settings import InitSettings
from datasets.preparation.flow.settings import FlowSettings
from datasets.preparation.flow.video_frames import Video
from datasets.preparation.flow.writing import write_flow
from datasets.preparation.outputs import check_outputs
from datasets.preparation.polygons.convert import convert_polygons
from datasets.preparation.polygons.settings import PolygonSettings
from datasets.preparation.settings import PreparationSettings, number_of_processes
from datasets.preparation.splitting.lists import write_lists
from datasets.preparation.splitting.settings import SplitSettings
from datasets.readers import layout


@dataclass(frozen=True)
class _Form:
    """A form of the command for own data.

    Attributes:
        settings: The dataclass of its options.
        run: Receives the settings and returns the exit status.
        description: What it does, for its help.
    """

    settings: type
    run: Callable[[Any], int]
    description: str


def _open_video(path: Path, max_pixels: int) -> Video:
    """Open a video for ``flow``. As a command line, this module stands above all packages."""
    from engine.inference.video import VideoReader

    return VideoReader(path, max_pixels)


FORMS = {
    'init': _Form(
        InitSettings,
        describe_data,
        'Write dataset.yaml for your own images and masks: finds both by their names, and the '
        'classes by the values or colours of the masks.',
    ),
    'polygons': _Form(
        PolygonSettings,
        convert_polygons,
        'Draw masks from the polygons of LabelMe, CVAT or COCO, and write dataset.yaml.',
    ),
    'split': _Form(
        SplitSettings,
        write_lists,
        'Divide the images of your own data among train.txt, val.txt and test.txt, so that each '
        'class has its fair part of each.',
    ),
    'flow': _Form(
        FlowSettings,
        partial(write_flow, open_video=_open_video),
        'Compute the optical flow between the frames of Cityscapes, a folder or a video, the first '
        'picture of each scene for networks with two inputs.',
    ),
}


class _Parser(command.Parser):
    """A parser whose help lists all data sets, including those that ``--import`` registered."""

    def format_help(self) -> str:
        """Return the help with the list of data sets."""
        forms = '\n'.join(
            fill(form.description, 78, initial_indent=f'  {name:9} ', subsequent_indent=' ' * 12)
            for name, form in FORMS.items()
        )
        return (
            f'{super().format_help()}\ndata sets: {", ".join(datasets.names())}\n\n'
            f'forms for your own data, such as {self.prog} {next(iter(FORMS))} --help:\n{forms}\n'
        )


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command, or the form of it that the first argument names; return the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = words[0] if words else ''
    if name not in FORMS:
        return command.run_command(build_parser, main, words)
    return command.run_command(partial(_form_parser, name), partial(_run_form, name), words[1:])


def _form_parser(name: str) -> command.Parser:
    form = FORMS[name]
    parser = command.Parser(f'python -m datasets.prepare {name}', description=form.description)
    command.add_options(parser, form.settings)
    return parser


def _run_form(name: str, args: Namespace) -> int:
    form = FORMS[name]
    return form.run(command.settings(form.settings, args))


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
    if settings.name in FORMS:
        name = settings.name
        raise UserError(f'{name}: must come first, as in python -m datasets.prepare {name} -d DATA')
    chosen = [action for action in ACTIONS if getattr(settings, action)]
    if not chosen:
        raise UserError(f'nothing to do; name at least one of --{", --".join(ACTIONS)}')
    processes = number_of_processes(settings.processes)
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
    sys.exit(run())
