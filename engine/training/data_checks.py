"""Check the data of a training: classes, scenes and depths, and what both splits share."""

from collections.abc import Mapping
from functools import reduce
from operator import add

from common.machine import cores
from datasets import Dataset, scene_scan
from datasets.label_scan import LabelScan
from engine.distributed.processes import Processes
from engine.distributed.watchdog import Watchdog
from engine.evaluation import seen_images, turned_images
from engine.evaluation.target_checks import class_views
from engine.training import bad_samples, class_coverage
from engine.training.plan import TrainingPlan
from engine.training.validation import Validation


def check_training_split(
    plan: TrainingPlan, data: Dataset, watchdog: Watchdog, resumed: bool
) -> dict[str, LabelScan]:
    """Log what the training split consists of, and check that it shows all classes.

    A resumed run is only warned of classes without a pixel, so that no run is lost.

    Args:
        plan: The training.
        data: The training split.
        watchdog: Receives a report of progress for each file.
        resumed: Whether the run resumes.

    Returns:
        What the labels of each task of kind classes show; of a split that is too large to be
        scanned, only what its reader judges.

    Raises:
        UserError: A class has no pixel, no depth is known, or a file cannot be used.
    """
    data.log_counts()
    if data.tasks or len(data.flow) > 1:
        _check_scenes(plan, data, watchdog)
    return {
        task: _scan_labels(plan, view, watchdog, resumed)
        for task, view in class_views(data).items()
    }


def _scan_labels(plan: TrainingPlan, view: Dataset, watchdog: Watchdog, resumed: bool) -> LabelScan:
    """Scan the labels of a task; of a large split, let its reader judge some of them."""
    settings = plan.settings
    if len(view) > class_coverage.MAX_SCANNED_IMAGES:
        return class_coverage.judge_part(
            view, plan.processes, watchdog.note_progress, skip_bad=settings.skip_bad
        )
    return class_coverage.require_classes(
        view,
        plan.processes,
        watchdog.note_progress,
        allowed=settings.allow_missing_classes or resumed,
        skip_bad=settings.skip_bad,
    )


def _check_scenes(plan: TrainingPlan, data: Dataset, watchdog: Watchdog) -> None:
    """Compare the sizes of the files of scenes, and judge some of their depths."""
    processes = plan.processes
    own = data.part(processes.shard(len(data)))
    with bad_samples.advised():
        scan = scene_scan.scan_scenes(
            own, cores(processes.local_size), plan.settings.skip_bad, watchdog.note_progress
        )
    scene_scan.judge(data, reduce(add, processes.gather(scan)))


def compare_splits(
    data: Dataset,
    scans: Mapping[str, LabelScan],
    validation: Validation | None,
    processes: Processes,
) -> None:
    """Compare the training split with the validation, and warn of images that EXIF data turn.

    Args:
        data: The training split.
        scans: What its labels show, by task.
        validation: The validation; None without one.
        processes: All processes of the job; only rank 0 compares and logs.
    """
    if validation is not None and not processes.rank:
        scored = class_views(validation.dataset)
        for task, view in class_views(data).items():
            other = validation.scans[task]
            class_coverage.compare_splits(view, scans[task], scored[task], other)
        seen_images.warn_of_shared(data, validation.dataset)
    turned_images.warn([data, *([validation.dataset] if validation else [])], processes)
