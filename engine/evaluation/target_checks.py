"""Check the targets of a split before they are scored or trained on."""

from collections.abc import Mapping
from functools import reduce
from operator import add

from common.log import LOG
from common.process_map import MANY_FILES
from common.tasks import CLASSES, DEPTH
from common.terminal.progress import ProgressBar
from datasets import Dataset, scene_scan
from datasets.label_scan import LabelScan
from datasets.scene_scan import DepthFacts, SceneScan
from engine.distributed.processes import Processes
from engine.evaluation import evaluator


def check_targets(
    dataset: Dataset, processes: Processes, others: Mapping[str, LabelScan] | None = None
) -> dict[str, LabelScan]:
    """Read all targets of a split, to find a bad one in minutes instead of hours.

    Args:
        dataset: The split.
        processes: All processes of the job, which share the samples.
        others: What the labels of other splits show by task, to compare with.

    Returns:
        What the labels of each task of kind classes show, see :func:`class_views`.

    Raises:
        UserError: A target cannot be used, or says nothing about any pixel.
    """
    if dataset.tasks or len(dataset.flow) > 1:
        _check_scenes(dataset, processes)
    known = others or {}
    return {
        name: evaluator.check_labels(view, processes, known.get(name))
        for name, view in class_views(dataset).items()
    }


def class_views(dataset: Dataset) -> dict[str, Dataset]:
    """Return the data set with the labels of each task of kind classes.

    Of a data set without tasks, it is the data set itself, with the name of its task.
    """
    if not dataset.tasks:
        return {dataset.info.task: dataset}
    return {t.name: dataset.of_task(t.name) for t in dataset.tasks if t.kind == CLASSES}


def _check_scenes(dataset: Dataset, processes: Processes) -> None:
    """Compare the sizes of the files of all scenes, read all depths, and judge them."""
    depths = [task.name for task in dataset.tasks if task.kind == DEPTH]
    if len(dataset) >= MANY_FILES:
        LOG.info('checking the files of %d scenes of %s', len(dataset), dataset.split)
    quiet = True if processes.rank else None  # None: shown on terminals only
    shard, own = processes.shard(len(dataset)), SceneScan()
    for index in ProgressBar(shard, 'checking scenes', leave=False, unit='scene', disable=quiet):
        scene_scan.check_sizes(dataset, index)
        own += SceneScan(1, {name: DepthFacts.of(dataset.target(index, name)) for name in depths})
    scene_scan.judge(dataset, reduce(add, processes.gather(own)))
