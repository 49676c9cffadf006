"""Settings of a run of the fuzzer."""

from dataclasses import dataclass
from pathlib import Path

from common.settings import Settings, option

DEFAULT_COUNT = 5000
DEFAULT_FOLDER = Path('results/fuzz')


@dataclass(frozen=True)
class Limits:
    """What an input may need.

    Attributes:
        seconds: Time to read it.
        memory_bytes: Memory beyond what the declared size of the input allows.
    """

    seconds: float = 20
    memory_bytes: int = 1 << 30


LIMITS = Limits()


@dataclass(frozen=True)
class FuzzSettings(Settings):
    """Options of ``python -m fuzz``."""

    count: int = option(
        '-n',
        '--count',
        default=DEFAULT_COUNT,
        type=int,
        metavar='N',
        help=f'number of damaged inputs over all readers (default: {DEFAULT_COUNT})',
    )
    seed: int = option(
        '--seed', default=0, type=int, metavar='S', help='random seed of the inputs (default: 0)'
    )
    readers: tuple[str, ...] = option(
        '--readers',
        default=(),
        nargs='+',
        metavar='READER',
        help='only these; a wrong name lists all',
    )
    output: Path = option(
        '-o',
        '--output',
        default=DEFAULT_FOLDER,
        type=Path,
        metavar='DIR',
        help='folder for report.json and the failing inputs, which replace those of an earlier '
        f'run (default: {DEFAULT_FOLDER})',
    )
    jobs: int | None = option(
        '--jobs', type=int, metavar='N', help='child processes (default: one per core)'
    )
    replay: Path | None = option(
        '--replay',
        type=Path,
        metavar='DIR',
        help='read one failing input again, from its folder, and show what happens',
    )
