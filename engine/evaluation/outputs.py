"""The files that an evaluation writes: claimed before the work, written as it goes or at its end.

An output that cannot be written, on a full disk for example, costs neither the scores nor the other
outputs.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from common import figures, files
from common.errors import UserError
from common.log import LOG
from common.machine import versions
from common.terminal.printable import one_line
from common.writing import write_targets
from common.writing.protected_files import ProtectedFiles
from datasets import Dataset, protection
from engine.distributed.processes import Processes
from engine.evaluation import confusion_picture, image_outputs, per_image
from engine.evaluation.evaluator import Consumer, ImageResult
from engine.evaluation.image_outputs import Output, Writer
from engine.evaluation.per_image import ImageScores
from engine.evaluation.settings import SHEET_NAME, EvaluationSettings
from engine.evaluation.worst_images import WorstImages


@dataclass
class _ImageFiles:
    """Files of every image in a folder; the first failure ends this output, not the evaluation.

    Attributes:
        folder: The folder.
        what: What the files are.
        output: Writes them.
        written: Number of files that this process has written.
        failure: Why no more files are written; None without a failure.
        required: Whether a failure ends the evaluation, which has no other results.
    """

    folder: Path
    what: str
    output: Output
    required: bool
    written: int = 0
    failure: str | None = None

    def __call__(self, result: ImageResult) -> None:
        if self.failure is not None:
            return
        try:
            self.output.write(self.output.target(result.index), result)
            self.written += 1
        except UserError as error:
            if self.required:
                raise
            self.failure = str(error)
            LOG.warning('%s; the evaluation goes on without further %s', error, self.what)


@dataclass
class Outputs:
    """All files of an evaluation.

    Args:
        settings: The settings, which name the files.
        dataset: The split.

    Attributes:
        lines: A line for every output that was written.
        failures: Messages about the others.
    """

    settings: EvaluationSettings
    dataset: Dataset
    lines: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        scored = self.settings.format_only is None
        self._files = [
            _ImageFiles(folder, what, writer(self.dataset, folder), required=not scored)
            for _, folder, writer, what in _writers(self.settings)
        ]
        self._images = ImageScores() if self.settings.per_image else None
        worst = self.settings.worst
        self._worst = WorstImages(self.dataset, worst) if worst else None

    @property
    def consumers(self) -> list[Consumer]:
        """Functions that take the result of every image."""
        collectors = (self._images, self._worst)
        return [*self._files, *(each for each in collectors if each is not None)]

    def add_up(self, processes: Processes) -> None:
        """Take over what all processes have written and collected."""
        for collector in (self._images, self._worst):
            if collector is not None:
                collector.add_up(processes)
        for each in self._files:
            shards = processes.gather((each.written, each.failure))
            self.failures += [failure for _, failure in shards if failure is not None][:1]
            count = sum(written for written, _ in shards)
            if count:
                self.lines.append(f'{one_line(each.folder)} written ({_counted(count, each.what)})')

    def write_scores(self, report: dict[str, Any], facts: dict[str, Any]) -> None:
        """Write the files about the whole split.

        Args:
            report: The scores.
            facts: What the scores depend on.
        """
        settings = self.settings
        if settings.json:
            document = {**report, 'settings': facts, 'versions': versions()}
            self._write(settings.json, 'scores', lambda path: files.write_json(path, document))
        if settings.confusion:
            matrix = np.array(report['confusion_matrix'], np.int64)
            info = self.dataset.info
            title = f'{facts["config"]}, {info.name} {self.dataset.split}'
            self._write(
                settings.confusion,
                'confusion matrix',
                lambda path: confusion_picture.draw(path, title, info.classes, matrix),
            )
        if settings.per_image and self._images is not None:
            table, dataset = self._images, self.dataset
            self._write(
                settings.per_image,
                f'scores of {_counted(report["images"], "image")}, the worst first',
                lambda path: table.write(path, dataset),
            )
        if settings.visualize and self._worst:
            sheet = settings.visualize / SHEET_NAME
            count = _counted(len(self._worst), 'image')
            self._write(sheet, f'{count} of the lowest mIoU', self._worst.write)

    def _write(self, path: Path, what: str, write: Callable[[Path], None]) -> None:
        try:
            write(path)
            self.lines.append(f'{one_line(path)} written ({what})')
        except UserError as error:
            self.failures.append(str(error))


def _counted(count: int, what: str) -> str:
    return f'{count} {what}' if count == 1 else f'{count} {what}s'


def check(
    settings: EvaluationSettings, protected: ProtectedFiles, dataset: Dataset, root: Path
) -> None:
    """Check that all files of an evaluation can be written and overwrite nothing.

    Args:
        settings: The settings, which name the files.
        protected: The files that the network is loaded from.
        dataset: The split.
        root: Folder of the data set.

    Raises:
        UserError: A file cannot be written, or would overwrite an input or another output.
    """
    name = dataset.info.name
    protection.protect_dataset(protected, name, root, dataset.samples, settings.list_file)
    for option, folder, writer, _ in _writers(settings):
        target = writer(dataset, folder).target
        for index in range(len(dataset)):
            protected.claim(option, target(index), 'name another folder')
            write_targets.refuse_stream(target(index))
        protection.check_folder(option, folder, name, root, dataset.samples)
    if settings.json:
        protected.claim_json('--json', settings.json)
    if settings.per_image:
        protected.claim_text(
            '--per-image', settings.per_image, f'{per_image.NAME},', 'a table of scores'
        )
    if settings.confusion:
        figures.check_format(settings.confusion)
        protected.claim('--confusion', settings.confusion)
        protection.check_picture('--confusion', settings.confusion, name, root, dataset.samples)
        files.check_writable(settings.confusion)
    if settings.worst and settings.visualize:
        sheet = settings.visualize / SHEET_NAME
        protected.claim('--worst', sheet, 'name another folder, or leave out --worst')
        write_targets.refuse_stream(sheet)
    for _, folder, _, _ in _writers(settings):
        files.check_writable(folder / 'x')


def _writers(settings: EvaluationSettings) -> list[tuple[str, Path, Writer, str]]:
    """Return option, folder, function and name of a file for each output of every image."""
    writers = (
        ('--visualize', settings.visualize, image_outputs.pictures, 'picture'),
        ('--save-labels', settings.save_labels, image_outputs.class_indices, 'label map'),
        ('--format-only', settings.format_only, image_outputs.submission, 'file'),
    )
    return [
        (option, folder, writer, what)
        for option, folder, writer, what in writers
        if folder is not None
    ]
