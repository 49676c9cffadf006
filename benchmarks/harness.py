"""Time contestants in turns, and format or write the results.

Turns spread the noise of a busy machine over all contestants.
"""

import itertools
import statistics
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from common import files, machine
from common.log import LOG
from common.terminal import tables
from common.terminal.tables import Column

MAX_WIDTH = 120  # characters of a line
TIMES = ('median ms', 'fastest', 'slowest', 'speed')


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


def format_table(results: Sequence[TimingResult], settings: Mapping) -> str:
    """Return the machine, the settings and the results as text of at most ``MAX_WIDTH`` columns.

    Details that no result has are left out, and so is what the settings say of them. Columns beyond
    the width follow in further tables with the same rows.
    """
    details = list(dict.fromkeys(key for result in results for key in result.details))
    empty = {key for key in details if all(r.details.get(key) is None for r in results)}
    shown = [key for key in details if key not in empty]
    facts = {key: fact for key, fact in settings.items() if key not in empty}
    lines = []
    for key, fact in {**machine.describe(), **facts}.items():
        lines += textwrap.wrap(f'{key}: {fact}', MAX_WIDTH, subsequent_indent='    ')
    columns = [Column(name, right=True) for name in (*TIMES, *shown)]
    names, rows = [result.name for result in results], [_cells(result, shown) for result in results]
    for part in _parts(names, columns, rows):
        lines += ['', *part]
    return '\n'.join(lines)


def _parts(
    names: Sequence[str], columns: Sequence[Column], rows: Sequence[Sequence[str]]
) -> Iterator[list[str]]:
    """Yield tables with as many columns as fit beside the names."""
    widths = [len(column.before) + column.width for column in tables.fitted(columns, rows)]
    first = max(map(len, names), default=0)
    start = 0
    while start < len(columns):
        reach = itertools.accumulate(widths[start:], initial=first)
        count = max(1, sum(each <= MAX_WIDTH for each in reach) - 1)
        chosen = slice(start, start + count)
        cells = [[name, *row[chosen]] for name, row in zip(names, rows)]
        yield tables.lines([Column(), *columns[chosen]], cells)
        start += count


def _cells(result: TimingResult, details: Sequence[str]) -> list[str]:
    """Return a result's cells: the times, then the given details."""
    times = result.median_ms, result.fastest_ms, result.slowest_ms
    return [
        *(f'{value:.2f}' for value in times),
        f'{result.ratio:.2f}x',
        *(_cell(result.details.get(key)) for key in details),
    ]


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
