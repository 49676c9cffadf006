"""Read the files of a run, finished or not, and summarise them as a page of Markdown."""

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

from common import files
from common.errors import UserError
from common.reading import yaml_text
from common.sections import SectionError
from common.terminal.tables import Column, markdown
from datasets.keys import DataKeys
from engine.config.reading import NAME_KEYS
from engine.runs import checkpoints
from engine.runs.logger import LOG_FILE
from engine.runs.run_folder import RunFolder
from engine.runs.series import LOSS, RATE, TIME, read_series, read_validations
from engine.training.hyperparameters import TrainingKeys
from models.family import NetworkKeys

UNKNOWN = '-'
PROGRESS = re.compile(r'\S+ \S+ INFO iteration \d+/(\d{1,15}) \|')  # line of train.log
MAX_LOG_BYTES = 10_000_000  # the end of train.log, which is read


@dataclass(frozen=True)
class RunRecord:
    """The content of a run's files.

    Attributes:
        folder: Folder of the run.
        network: Name of the network.
        data: Keys of the effective config about the data.
        total: Number of iterations of the whole run, or None if unknown.
        facts: Facts of the state (see ``engine.runs.checkpoints``); empty without a state.
        problem: Reason why the state cannot be read, or None.
        losses: Rows of the training loss (see ``engine.runs.series``).
        rates: Rows of the learning rate.
        times: Rows of the time per iteration.
        validations: Scores of all validations.
    """

    folder: RunFolder
    network: str
    data: DataKeys
    total: int | None
    facts: dict
    problem: str | None
    losses: list[tuple[float, ...]]
    rates: list[tuple[float, ...]]
    times: list[tuple[float, ...]]
    validations: list[dict]

    @property
    def name(self) -> str:
        """Name of the run, which is that of its folder."""
        return self.folder.path.resolve().name

    @property
    def iteration(self) -> int:
        """The last iteration that any file mentions."""
        known = [int(row[0]) for row in self.losses[-1:]]
        known += [entry['iteration'] for entry in self.validations[-1:]]
        return max([*known, *self.folder.saved(), self.facts.get('iteration', 0)])

    @property
    def scores(self) -> list[tuple[int, float]]:
        """Iteration and mIoU of the validations that have a score."""
        entries = [(entry['iteration'], entry['miou']) for entry in self.validations]
        return [(iteration, miou) for iteration, miou in entries if miou is not None]


def read_run(path: str | os.PathLike) -> RunRecord:
    """Read a run's files; raise ``UserError`` for a folder without a run or without results."""
    folder = RunFolder(path)
    if files.kind_of(folder.path) != 'folder':
        raise UserError(f'{path}: no such folder; pass the folder of a run, such as runs/D3Net_L')
    if files.kind_of(folder.config) != 'file':
        raise UserError(f'{path}: holds no run of train.py ({folder.config.name} is missing)')
    facts, problem = {}, None
    if files.kind_of(folder.state) is not None:
        try:
            facts = checkpoints.load_facts(folder.state)
        except UserError as error:
            problem = str(error)
    config = _read_config(folder.config)
    try:
        training, data = TrainingKeys.of(config), DataKeys.of(config)
        network = NetworkKeys.of(config).network
    except SectionError as error:
        raise UserError(f'{error} ({folder.config})') from error
    record = RunRecord(
        folder=folder,
        network=network,
        data=data,
        total=_total(folder.path / LOG_FILE) or training.max_iter,
        facts=facts,
        problem=problem,
        losses=read_series(folder.path, LOSS),
        rates=read_series(folder.path, RATE),
        times=read_series(folder.path, TIME),
        validations=read_validations(folder.path),
    )
    if not record.iteration:
        raise UserError(f'{path}: the run has no results yet; try again later')
    return record


def format_page(record: RunRecord, picture: Path) -> str:
    """Format a page of Markdown about a run; it links the picture relative to the run's folder."""
    facts = record.facts
    versions = [f'{name} {version}' for name, version in facts.get('versions', {}).items()]
    rows = [
        ('config', facts.get('name') or UNKNOWN),
        ('network', record.network),
        ('data set', record.data.dataset or UNKNOWN),
        ('iterations', f'{record.iteration} of {record.total or UNKNOWN}'),
        ('wall time', _duration(record.times[-1][3]) if record.times else UNKNOWN),
        *_losses(record),
        *_scores(record),
        ('processes', facts.get('processes', UNKNOWN)),
        ('seed', facts.get('seed', UNKNOWN)),
        ('state', _state(record)),
    ]
    name = Path(os.path.relpath(picture, record.folder.path)).as_posix()
    blocks = [f'# {record.name}', _table(('', ''), rows)]
    if record.problem:
        blocks.append(record.problem)
    blocks.append(f'![curves]({name})')
    if record.validations:
        last = record.validations[-1]
        classes = [(name, _number(iou)) for name, iou in last['classes'].items()]
        blocks.append(f'## Classes at iteration {last["iteration"]}')
        blocks.append(_table(('class', 'IoU in %'), classes))
    sizes = [
        (path.name, f'{path.stat().st_size / 2**20:.1f}')
        for path in (*record.folder.saved().values(), *record.folder.others())
    ]
    blocks += ['## Checkpoints', _table(('file', 'MiB'), sizes) if sizes else 'None yet.']
    if versions:
        blocks += ['## Versions', ', '.join(versions)]
    return '\n\n'.join(blocks) + '\n'


def _losses(record: RunRecord) -> list[tuple[str, str]]:
    if not record.losses:
        return [('loss', UNKNOWN)]
    last, numbers = record.losses[-1], [row for row in record.losses if not math.isnan(row[1])]
    rows = [('last loss', f'{last[1]:.5g}')]
    if numbers:
        iteration, loss = min(numbers, key=lambda row: row[1])
        rows.append(('lowest loss', f'{loss:.5g} at iteration {iteration:.0f}'))
    return rows


def _scores(record: RunRecord) -> list[tuple[str, str]]:
    if not record.scores:
        return [('validation mIoU', UNKNOWN)]
    iteration, best = max(record.scores, key=lambda row: row[1])
    return [
        ('last validation mIoU', f'{record.scores[-1][1]:.2f} %'),
        ('best validation mIoU', f'{best:.2f} % at iteration {iteration}'),
        ('last validated', record.validations[-1].get('origin', UNKNOWN)),
    ]


def _state(record: RunRecord) -> str:
    if record.problem:
        return 'cannot be used'
    return f'of iteration {record.facts["iteration"]}' if record.facts else 'none yet'


def _table(titles: tuple[str, str], rows: list[tuple]) -> str:
    """Return a Markdown table of two columns; empty titles are allowed."""
    first, second = titles
    columns = [Column(first), Column(second, right=bool(second))]  # columns with a title: numbers
    return '\n'.join(markdown(columns, [[str(cell) for cell in row] for row in rows]))


def _total(log: Path) -> int | None:
    """Return the length of the run from the last line of progress in train.log."""
    if files.kind_of(log) is None:
        return None
    try:
        with open(log, 'rb') as file:
            file.seek(max(0, log.stat().st_size - MAX_LOG_BYTES))
            end = file.read(MAX_LOG_BYTES)
    except OSError as error:
        raise UserError(f'{log}: cannot be read ({error.strerror})') from error
    lines = end.decode(errors='replace').splitlines()
    found = (PROGRESS.match(line) for line in reversed(lines))
    return next((int(match[1]) for match in found if match), None)


def _read_config(path: Path) -> dict:
    config = yaml_text.read(path, NAME_KEYS)
    if not isinstance(config, dict):
        raise UserError(f'{path}: is not a config')
    return config


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f'{minutes // 60}:{minutes % 60:02d}:{seconds:02d} h'


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f'{value:.2f}'
