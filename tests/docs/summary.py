"""Count what the documents show and the tests run, and say what took longest."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from common.terminal.tables import Column, lines
from docs import blocks, commands, elsewhere

PROPERTY = 'documents'  # of the report of a page's test
RUN, BY_OTHERS, NOT_HERE = 'run', 'run by another test', 'not run here'
FILES, OUTPUTS = 'files written', 'outputs compared'
KINDS = (RUN, BY_OTHERS, NOT_HERE, FILES, OUTPUTS)
SLOWEST, SLOWEST_IN_DETAIL = 8, 40


def count(path: Path) -> Counter[str]:
    """Return how many commands and snippets of a page are of each of :data:`KINDS`."""
    return Counter(kind for kind, _ in _shown(path))


def not_run(path: Path) -> list[str]:
    """Return the commands and snippets of a page that no test runs, with line and reason."""
    return [what for kind, what in _shown(path) if kind == NOT_HERE]


def _shown(path: Path) -> Iterator[tuple[str, str]]:
    for block in blocks.read(path).blocks:
        where = f'{path.name}:{block.line}'
        if block.file:
            yield FILES, where
        elif block.language == 'sh':
            here = False
            for each in commands.split(block, path.name):
                other = elsewhere.place(each.text)
                here |= not each.reason and not other
                kind = NOT_HERE if each.reason else BY_OTHERS if other else RUN
                yield kind, f'{path.name}:{each.line}: {each.text} ({each.reason or other})'
            if here and block.shown is not None:
                yield OUTPUTS, where
        elif block.language in ('python', 'yaml'):
            yield (NOT_HERE if block.reason else RUN), f'{where}: ({block.reason})'
            if block.shown is not None and not block.reason:
                yield OUTPUTS, where


def text(paths: Sequence[Path], times: Sequence[tuple[float, float, str]], detailed: bool) -> str:
    """Return the summary of a run of the tests.

    Args:
        paths: The pages that were run.
        times: Seconds by the clock and of the CPU, and name of each command.
        detailed: Whether it has a row for each page, and what was not run, with the reasons.
    """
    counts = {path: count(path) for path in paths}
    total = sum(counts.values(), Counter())
    found = [
        f'{len(paths)} pages: ' + ', '.join(f'{total[kind]} {kind}' for kind in KINDS),
        f'{sum(cpu for _, cpu, _ in times):.0f} s of the CPU; slowest, by the clock and the CPU:',
    ]
    slowest = sorted(times, reverse=True)[: SLOWEST_IN_DETAIL if detailed else SLOWEST]
    found += [f'{seconds:6.1f} s {cpu:6.1f} s  {what}' for seconds, cpu, what in slowest]
    if detailed:
        columns = [Column(title, right=title != 'page') for title in ('page', *KINDS, 'CPU s')]
        rows = []
        for path, own in counts.items():
            cpu = sum(seconds for _, seconds, what in times if what.startswith(f'{path.name}:'))
            rows.append([path.name, *(str(own[kind]) for kind in KINDS), f'{cpu:.1f}'])
        found += [
            '',
            *lines(columns, rows),
            '',
            *(f'  {each}' for p in paths for each in not_run(p)),
        ]
    return '\n'.join(found)
