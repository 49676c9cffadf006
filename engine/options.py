"""The options that commands had once: each names its successor."""

from argparse import SUPPRESS, Action, ArgumentParser, Namespace
from typing import Any

from common.errors import UserError

# Options that were removed: the option, the commands that had it, and what to use instead.
REMOVED = (
    (
        '--processes',
        ('infer.py',),
        'openvino and onnxruntime use all cores by themselves, --threads N sets how many',
    ),
    ('--processes', ('evaluate.py',), 'use mpirun -n N python evaluate.py'),
    ('--engine', ('infer.py', 'evaluate.py'), 'use --backend'),
)


def add_removed(parser: ArgumentParser) -> None:
    """Make the parser refuse the options that its command had once; help does not list them."""
    for option, commands, successor in REMOVED:
        if parser.prog in commands:
            parser.add_argument(option, action=_Removed, successor=successor)


class _Removed(Action):
    """Raise a ``UserError`` that names the successor of an option, with or without a value."""

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
