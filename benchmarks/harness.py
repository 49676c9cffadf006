"""Time contestants in turns, and format or write the results.

Turns spread the noise of a busy machine over all contestants.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from common import files, machine
from common.log import LOG
from common.terminal import tables
from common.terminal.tables import Column

COLUMNS = (
    Column(),
    Column('median ms', 10, right=True),
    Column('fastest', 10, right=True, before=' '),
    Column('slowest', 10, right=True, before=' '),
    Column('speed', 6, right=True),
)


@dataclass(frozen=True)
class TimingResult:
    """Times of one contestant.

    Attributes:
        name: Name of the contestant.
        median_ms: Median over the rounds, in milliseconds.
        fastest_ms: Milliseconds of the fastest round.
        slowest_ms: Milliseconds of the slowest round.
        ratio: Speed as a multiple of the first contestant's.
        details: Further columns of the table.
    """

    name: str
    median_ms: float
    fastest_ms: float
    slowest_ms: float
    ratio: float
    details: Mapping[str, float | None] = field(default_factory=dict)


def compare_in_turns(
    contestants: Mapping[str, Callable[[], Any]],
    rounds: int,
    warm_up: int = 1,
    own_clock: bool = False,
) -> list[TimingResult]:
    """Run every contestant once per round; ratios are medians over the rounds.

    Args:
        contestants: Functions to time, by the name of the contestant.
        rounds: Number of timed rounds.
        warm_up: Number of untimed rounds before the timed ones.
        own_clock: Whether contestants return their time in seconds, because they prepare each run.
    """
    LOG.info('timing %s in %d rounds', ', '.join(contestants), rounds)
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(-warm_up, rounds):
        for name, run in contestants.items():
            started = time.perf_counter()
            own = run()
            seconds = own if own_clock else time.perf_counter() - started
            if turn >= 0:
                times[name].append(1000 * seconds)
    first = next(iter(times.values()))
    return [
        TimingResult(name, statistics.median(own), min(own), max(own), median_speedup(first, own))
        for name, own in times.items()
    ]


def median_speedup(first: Sequence[float], own: Sequence[float]) -> float:
    """Return the speed of ``own`` relative to ``first``: the median of the rounds' ratios."""
    return statistics.median(base / mine for base, mine in zip(first, own))


def format_table(results: list[TimingResult], settings: Mapping) -> str:
    """Return the machine, the settings and the results as text."""
    lines = [f'{key}: {value}' for key, value in {**machine.describe(), **settings}.items()]
    details = [Column(name, 11, right=True, before='') for name in results[0].details]
    rows = [
        [
            r.name,
            *(f'{value:.2f}' for value in (r.median_ms, r.fastest_ms, r.slowest_ms)),
            f'{r.ratio:.2f}x',
            *map(_cell, r.details.values()),
        ]
        for r in results
    ]
    return '\n'.join([*lines, '', *tables.lines([*COLUMNS, *details], rows)])


def _cell(value: float | None) -> str:
    """Format a number with five digits, which distinguish losses; large ones with one decimal."""
    if value is None:
        return '-'
    return f'{value:.1f}' if abs(value) >= 100 else f'{value:.5g}'


def write_json(path: Path, results: list[TimingResult], settings: Mapping):
    """Write the machine, the settings and the results as JSON."""
    document = {
        'machine': machine.describe(),
        'settings': dict(settings),
        'results': [asdict(result) for result in results],
    }
    files.write_json(path, document)
