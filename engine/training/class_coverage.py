"""Check that a training split shows every class: no network learns a class without a pixel."""

from collections.abc import Callable, Mapping
from functools import reduce
from operator import add

import cv2
import numpy as np

from common.log import LOG
from common.machine import cores
from common.tasks import SEGMENTATION
from datasets import DataError, Dataset, label_scan
from datasets.dataset import JudgingDecoder
from datasets.label_scan import LabelScan, ScanCache, name_classes, place_of
from engine.distributed.processes import Processes
from engine.evaluation.target_checks import class_views
from engine.training import bad_samples
from engine.training.hyperparameters import Hyperparameters

MAX_SCANNED_IMAGES = 5000  # of larger splits, the crops of the first epoch are watched
ALLOW_OPTION = '--allow-missing-classes'


def require_classes(
    dataset: Dataset,
    processes: Processes,
    on_progress: Callable[[str], None],
    *,
    allowed: bool,
    skip_bad: bool,
) -> LabelScan:
    """Read all labels of a training split, and refuse it unless every class has a pixel.

    All processes of the job share the labels. The result is cached.

    Args:
        dataset: The training split.
        processes: All processes of the job.
        on_progress: Called with a description of each label.
        allowed: Only warn of classes without a pixel.
        skip_bad: Leave out labels that cannot be read.

    Returns:
        What the labels show.

    Raises:
        UserError: A class has no pixel, all pixels are ignored, the reader refuses the labels as a
            whole, or a label cannot be used.
    """
    task = dataset.info.task
    of_task = '' if task == SEGMENTATION else f' of {task}'
    title = f'counting the classes of %d label files{of_task}'
    scan = _shared_scan(dataset, processes, on_progress, skip_bad, title)
    if not scan.labels:
        raise DataError(
            f'{place_of(dataset)}: none of its {len(dataset)} labels can be used; '
            'train without --skip-bad to learn why'
        )
    label_scan.judge(dataset, scan)
    label_scan.refuse_ignored(dataset, scan)
    missing = scan.missing_classes(dataset.info)
    if not missing:
        return scan
    problem = f'{place_of(dataset)} shows {name_classes(missing, dataset)} in no pixel'
    if not allowed:
        raise DataError(
            f'{problem}, so no network can learn them; correct the labels or the classes, or '
            f'train all the same with {ALLOW_OPTION}'
        )
    LOG.warning('%s; no network can learn them', problem)
    return scan


def judge_part(
    dataset: Dataset,
    processes: Processes,
    on_progress: Callable[[str], None],
    *,
    skip_bad: bool,
) -> LabelScan:
    """Let the reader judge some labels of a training split that is too large to be scanned.

    Args:
        dataset: The training split.
        processes: All processes of the job.
        on_progress: Called with a description of each label.
        skip_bad: Leave out labels that cannot be read.

    Returns:
        What is to be judged about these labels, without their pixels.

    Raises:
        UserError: The reader refuses the labels as a whole, or a label cannot be used.
    """
    if not isinstance(dataset.decode, JudgingDecoder):
        return LabelScan()
    some = dataset.part(range(0, len(dataset), -(-len(dataset) // MAX_SCANNED_IMAGES)))
    scan = _shared_scan(some, processes, on_progress, skip_bad, 'comparing %d label files')
    label_scan.judge(dataset, scan)
    return LabelScan(facts=scan.facts)


def compare_splits(training: Dataset, scan: LabelScan, scored: Dataset, other: LabelScan) -> None:
    """Warn of classes that only the validation lacks.

    Args:
        training: The training split.
        scan: What its labels show; of a split that was not scanned, nothing.
        scored: The split of the validation.
        other: What its labels show.
    """
    missing = scan.missing_classes(training.info) if scan.labels else []
    lacking = [name for name in other.missing_classes(training.info) if name not in missing]
    if lacking:
        LOG.warning(
            '%s has no pixel of %s; its mIoU leaves out those that are not predicted',
            place_of(scored),
            name_classes(lacking, scored),
        )


class CropWatch:
    """The classes that the crops of the first epoch show, for splits that are not scanned.

    Args:
        dataset: The training split.
        iterations: Number of iterations of an epoch.
        start: The iteration that the run resumes from, so that its epoch begins there.
    """

    def __init__(self, dataset: Dataset, iterations: int, start: int = 0):
        self._dataset, self._left, self._start = dataset, iterations, start
        self._seen = np.zeros(256, np.int64)

    def see(self, labels: np.ndarray) -> None:
        """Note the classes of a batch, (N, 1, H, W) int32 with -1 for ignored pixels."""
        if not self._seen[: len(self._dataset.info.classes)].all():
            narrow = labels.astype(np.uint8).reshape(len(labels), -1)  # -1 becomes 255
            self._seen += cv2.calcHist([narrow], [0], None, [256], [0, 256]).ravel() > 0

    def end_iteration(self, processes: Processes) -> bool:
        """Count an iteration; after the last one of the epoch, warn of classes in no crop.

        Returns:
            Whether the watch is over.

        Raises:
            DataError: All pixels of all crops are ignored.
        """
        self._left -= 1
        if self._left:
            return False
        seen = processes.total(self._seen)
        missing = self._dataset.info.classes_without(seen)
        problem = (
            f'{place_of(self._dataset)}: no crop of '
            f'{f"the epoch since iteration {self._start}" if self._start else "the first epoch"} '
            f'shows {name_classes(missing, self._dataset)}; python -m datasets.prepare '
            f'{self._dataset.info.name} --check counts the pixels of all labels'
        )
        if len(missing) == len(self._dataset.info.classes):
            raise DataError(problem)
        if missing and not processes.rank:
            LOG.warning('%s', problem)
        return True


class TaskWatch:
    """The :class:`CropWatch` of each task of kind classes.

    Args:
        watches: The watches by task.
    """

    def __init__(self, watches: Mapping[str, CropWatch]):
        self._watches = watches

    def see(self, targets: Mapping[str, np.ndarray]) -> None:
        """Note the classes of a batch, from the targets of all tasks."""
        for task, watch in self._watches.items():
            watch.see(targets[task])

    def end_iteration(self, processes: Processes) -> bool:
        """Count an iteration as :meth:`CropWatch.end_iteration` does."""
        ends = [watch.end_iteration(processes) for watch in self._watches.values()]
        return all(ends)  # of the same epoch


def watch_of(
    dataset: Dataset, hyperparameters: Hyperparameters, processes: Processes, iteration: int
) -> CropWatch | TaskWatch | None:
    """Return the watch of a split that is too large to be scanned.

    It is None for other splits, and for a run that resumes from an iteration after the first epoch.
    """
    batch = hyperparameters.batch_size * hyperparameters.accumulation * processes.size
    epoch = -(-len(dataset) // batch)
    if len(dataset) <= MAX_SCANNED_IMAGES or iteration >= epoch:
        return None
    if not dataset.tasks:
        return CropWatch(dataset, epoch, iteration)
    views = class_views(dataset).items()
    return TaskWatch({task: CropWatch(view, epoch, iteration) for task, view in views})


def _shared_scan(
    dataset: Dataset,
    processes: Processes,
    on_progress: Callable[[str], None],
    skip_bad: bool,
    title: str,
) -> LabelScan:
    cache = ScanCache(dataset, skip_bad)
    scan = processes.gather(None if processes.rank else cache.load())[0]
    if scan is None:
        LOG.info(title, len(dataset))
        own = dataset.part(processes.shard(len(dataset)))
        workers = cores(processes.local_size)
        with bad_samples.advised():
            mine = label_scan.scan_labels(own, workers, skip_bad, on_progress)
        scan = reduce(add, processes.gather(mine))
        if not processes.rank:
            cache.store(scan)
    return scan
