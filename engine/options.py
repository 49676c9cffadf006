"""Options that were removed from commands: each reports its replacement."""

from argparse import SUPPRESS, Action, ArgumentParser, Namespace
from typing import Any

from common.errors import UserError

# Each row: the removed option, the commands that had it, and its replacement.
REMOVED_OPTIONS = (
    (
        '--processes',
        ('infer.py',),
        'openvino and onnxruntime use all cores by themselves, --threads N sets how many',
    ),
    ('--processes', ('evaluate.py',), 'use mpirun -n N python evaluate.py'),
    ('--engine', ('infer.py', 'evaluate.py'), 'use --backend'),
)


def add_removed_options(parser: ArgumentParser) -> None:
    """Make the parser reject the removed options of its command; --help does not list them."""
    for option, commands, successor in REMOVED_OPTIONS:
        if parser.prog in commands:
            parser.add_argument(option, action=_Removed, successor=successor)


class _Removed(Action):
    """An action that reports the replacement of a removed option, with or without a value."""

    def __init__(self, option_strings: list[str], dest: str, successor: str):
        super().__init__(option_strings, SUPPRESS, nargs='?', default=SUPPRESS, help=SUPPRESS)
        self._successor = successor

    def __call__(
        self,
        parser: ArgumentParser,
        namespace: Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        raise UserError(f'{self.option_strings[0]} was removed: {self._successor}')
