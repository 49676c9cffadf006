"""The files that an evaluation writes: claimed before the work, written as it goes or at its end.

An output that cannot be written, on a full disk for example, costs neither the scores nor the other
outputs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from common import figures, files
from common.errors import UserError
from common.log import LOG
from common.machine import versions
from common.tasks import CLASSES
from common.terminal.printable import one_line
from common.writing import write_targets
from common.writing.protected_files import ProtectedFiles
from datasets import Dataset, protection
from engine.distributed.processes import Processes
from engine.evaluation import confusion_picture, image_outputs, per_image, task_outputs
from engine.evaluation.image_outputs import Output
from engine.evaluation.per_image import ImageScores
from engine.evaluation.settings import SHEET_NAME, EvaluationSettings
from engine.evaluation.task_per_image import TaskImageScores
from engine.evaluation.worst_images import WorstImages
from engine.evaluation.worst_scenes import WorstScenes


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
    output: Output[Any]
    required: bool
    written: int = 0
    failure: str | None = None

    def __call__(self, result: Any) -> None:
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
        weights: With several tasks, the weight of each task's score in that of an image.

    Attributes:
        lines: A line for every output that was written.
        failures: Messages about the others.
    """

    settings: EvaluationSettings
    dataset: Dataset
    weights: Mapping[str, float] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        scored = self.settings.format_only is None
        self._files = [
            _ImageFiles(each.folder, each.what, each.output, required=not scored)
            for each in _outputs_of_images(self.settings, self.dataset)
        ]
        tasks, worst = self.dataset.tasks, self.settings.worst
        self._images: ImageScores | TaskImageScores | None = None
        self._worst: WorstImages | None = None
        if self.settings.per_image:
            self._images = TaskImageScores(tasks, self.weights) if tasks else ImageScores()
        if worst:
            self._worst = (
                WorstScenes(self.dataset, worst, self.weights)
                if tasks
                else WorstImages(self.dataset, worst)
            )

    @property
    def consumers(self) -> list[Callable[[Any], None]]:
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
        for path, name in _confusion_pictures(settings, self.dataset):
            own = report['tasks'][name] if name else report
            matrix = np.array(own['confusion_matrix'], np.int64)
            info = self.dataset.info.of_task(name) if name else self.dataset.info
            title = f'{facts["config"]}, {info.name} {self.dataset.split}{name and ", "}{name}'
            self._write(
                path,
                'confusion matrix' + (name and f' of {name}'),
                partial(confusion_picture.draw, title=title, classes=info.classes, matrix=matrix),
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
            score = 'score' if self.dataset.tasks else 'mIoU'
            self._write(sheet, f'{count} of the lowest {score}', self._worst.write)

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
        UserError: A file cannot be written, or would overwrite an input or another output, or an
            option is about classes and no task has any.
    """
    name = dataset.info.name
    protection.protect_dataset(protected, name, root, dataset.samples, settings.list_file)
    if settings.boundary and dataset.tasks and not _class_tasks(dataset):
        raise UserError('--boundary: no task has classes; leave it out')
    outputs = _outputs_of_images(settings, dataset)
    for each in outputs:
        for index in range(len(dataset)):
            target = each.output.target(index)
            protected.claim(each.option, target, 'name another folder')
            write_targets.refuse_stream(target)
        protection.check_folder(each.option, each.folder, name, root, dataset.samples)
    if settings.json:
        protected.claim_json('--json', settings.json)
    if settings.per_image:
        protected.claim_text(
            '--per-image', settings.per_image, f'{per_image.NAME},', 'a table of scores'
        )
    for picture, _ in _confusion_pictures(settings, dataset):
        figures.check_format(picture)
        protected.claim('--confusion', picture)
        protection.check_picture('--confusion', picture, name, root, dataset.samples)
        files.check_writable(picture)
    if settings.worst and settings.visualize:
        sheet = settings.visualize / SHEET_NAME
        protected.claim('--worst', sheet, 'name another folder, or leave out --worst')
        write_targets.refuse_stream(sheet)
    for each in outputs:
        files.check_writable(each.folder / 'x')


@dataclass(frozen=True)
class _ImageOutput:
    """An output of every image: its option, its folder, what its files are, and their writer."""

    option: str
    folder: Path
    what: str
    output: Output[Any]


def _outputs_of_images(settings: EvaluationSettings, dataset: Dataset) -> list[_ImageOutput]:
    """Return the outputs of every image that the settings name."""
    found = []
    shown, saved, submitted = settings.visualize, settings.save_labels, settings.format_only
    several = bool(dataset.tasks)
    if shown is not None:
        pictures = task_outputs.pictures if several else image_outputs.pictures
        found.append(_ImageOutput('--visualize', shown, 'picture', pictures(dataset, shown)))
    if saved is not None and several:
        for task in dataset.tasks:
            what = 'label map' if task.kind == CLASSES else 'depth map'
            output = task_outputs.maps(dataset, saved, task)
            found.append(_ImageOutput('--save-labels', saved / task.name, what, output))
    elif saved is not None:
        labels = image_outputs.class_indices(dataset, saved)
        found.append(_ImageOutput('--save-labels', saved, 'label map', labels))
    if submitted is not None:
        submission = task_outputs.submission if several else image_outputs.submission
        files_of = submission(dataset, submitted)
        found.append(_ImageOutput('--format-only', submitted, 'file', files_of))
    return found


def _confusion_pictures(settings: EvaluationSettings, dataset: Dataset) -> list[tuple[Path, str]]:
    """Return the pictures of confusion matrices, each with the name of its task, or ''.

    Several tasks of kind classes have a picture each: ``FILE_motion.png``.

    Raises:
        UserError: No task has classes.
    """
    path = settings.confusion
    if path is None:
        return []
    names = _class_tasks(dataset)
    if dataset.tasks and not names:
        raise UserError('--confusion: no task has classes; leave it out')
    if len(names) < 2:
        return [(path, ''.join(names))]
    return [(path.with_name(f'{path.stem}_{name}{path.suffix}'), name) for name in names]


def _class_tasks(dataset: Dataset) -> list[str]:
    """Return the names of the tasks of kind classes; [] for the label alone."""
    return [task.name for task in dataset.tasks if task.kind == CLASSES]
