"""Read the files of a run, finished or not."""

import os
import re
import statistics
from dataclasses import dataclass
from pathlib import Path

from common import files
from common.errors import UserError
from common.reading import yaml_text
from common.sections import SectionError
from common.tasks import TaskKeys
from datasets.keys import DataKeys
from engine.config.reading import NAME_KEYS
from engine.runs import checkpoints
from engine.runs.log_file import LOG_FILE
from engine.runs.run_folder import RunFolder
from engine.runs.series import LOSS, RATE, TIME, read_series, read_validations, task_loss
from engine.runs.validation_scores import main_score
from engine.training.hyperparameters import TrainingKeys
from models.family import NetworkKeys

PROGRESS = re.compile(r'\S+ \S+ INFO iteration \d+/(\d{1,15}) \|')  # line of train.log
MAX_LOG_BYTES = 10_000_000  # the end of train.log, which is read


@dataclass(frozen=True)
class TaskRecord:
    """The curves of one of several tasks.

    Attributes:
        name: Name of the task.
        measure: Name of its main score: ``mIoU``, or ``ARD`` for depth, where less is better.
        losses: Rows of its training loss (see ``engine.runs.series``).
        scores: Iteration and main score of the validations that have one, in percent.
    """

    name: str
    measure: str
    losses: list[tuple[float, ...]]
    scores: list[tuple[int, float]]


@dataclass(frozen=True)
class RunRecord:
    """The content of a run's files.

    Attributes:
        folder: Folder of the run.
        config: The effective config.
        network: Name of the network.
        data: Keys of the effective config about the data.
        training: Keys of the effective config about the training.
        total: Number of iterations of the whole run, or None if unknown.
        facts: Facts of the state (see ``engine.runs.checkpoints``); empty without a state.
        problem: Reason why the state cannot be read, or None.
        losses: Rows of the training loss (see ``engine.runs.series``).
        rates: Rows of the learning rate.
        times: Rows of the time per iteration.
        validations: Scores of all validations.
        tasks: The curves of each task of a network of several; () for one task.
    """

    folder: RunFolder
    config: dict
    network: str
    data: DataKeys
    training: TrainingKeys
    total: int | None
    facts: dict
    problem: str | None
    losses: list[tuple[float, ...]]
    rates: list[tuple[float, ...]]
    times: list[tuple[float, ...]]
    validations: list[dict]
    tasks: tuple[TaskRecord, ...] = ()

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
    def seconds(self) -> float | None:
        """Time of an iteration, the median of all intervals; None if unknown.

        So a few intervals with a validation do not count.
        """
        times = [seconds / count for _, seconds, count, _ in self.times if count]
        return statistics.median(times) if times else None

    @property
    def images_per_second(self) -> float | None:
        """Images of all processes per second of training; None if unknown."""
        processes, batch = self.facts.get('processes'), self.training.batch_size
        if not (self.seconds and processes and batch):
            return None
        return batch * self.training.accumulation * processes / self.seconds

    @property
    def scores(self) -> list[tuple[int, float]]:
        """Iteration and :attr:`measure` of the validations that have one."""
        key = 'score' if self.tasks else 'miou'
        entries = [(entry['iteration'], entry.get(key)) for entry in self.validations]
        return [(iteration, score) for iteration, score in entries if score is not None]

    @property
    def measure(self) -> str:
        """Name of the score that decides which weights are the best."""
        return 'score' if self.tasks else 'mIoU'


def read_run(path: str | os.PathLike, empty: bool = False) -> RunRecord:
    """Read a run's files.

    Args:
        path: Folder of the run.
        empty: Whether the run may have no results yet.

    Raises:
        UserError: There is no run, a file of it cannot be used, or it has no results.
    """
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
        network, names = NetworkKeys.of(config).network, TaskKeys.of(config).tasks or ()
    except SectionError as error:
        raise UserError(f'{error} ({folder.config})') from error
    validations = read_validations(folder.path)
    record = RunRecord(
        folder=folder,
        config=config,
        network=network,
        data=data,
        training=training,
        total=_total(folder.path / LOG_FILE) or training.max_iter,
        facts=facts,
        problem=problem,
        losses=read_series(folder.path, LOSS),
        rates=read_series(folder.path, RATE),
        times=read_series(folder.path, TIME),
        validations=validations,
        tasks=tuple(
            TaskRecord(
                name,
                main_score(name)[1],
                read_series(folder.path, task_loss(name)),
                _scores_of_task(name, validations),
            )
            for name in names
        ),
    )
    if not (record.iteration or empty):
        raise UserError(f'{path}: the run has no results yet; try again later')
    return record


def _scores_of_task(name: str, validations: list[dict]) -> list[tuple[int, float]]:
    """Return iteration and main score of a task in the validations that have one."""
    key, _ = main_score(name)
    found = []
    for entry in validations:
        score = entry.get('tasks', {}).get(name, {}).get(key)
        if score is not None:
            found.append((entry['iteration'], score))
    return found


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
