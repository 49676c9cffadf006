"""Check and measure splits with several pictures or tasks."""

from functools import reduce
from typing import Any

from common.process_map import map_samples
from common.tasks import CLASSES, DEPTH
from common.terminal.printable import one_line
from datasets.dataset import Dataset
from datasets.label_scan import LabelScan
from datasets.preparation.check_scenes import check_scenes, depth_as_json
from datasets.preparation.printing import print_classes, print_depth, print_statistics
from datasets.preparation.statistics import compute_statistics
from datasets.scene_scan import DepthFacts


def check(dataset: Dataset, processes: int, others: dict[str, LabelScan]) -> dict[str, Any]:
    """Check a split, print the report and return it for JSON.

    Args:
        dataset: The split.
        processes: Number of worker processes.
        others: What the class maps of other splits show, by task, to be extended.
    """
    report = check_scenes(dataset, processes, others)
    for task, scan in report.scans.items():
        others[task] = others.get(task, LabelScan()) + scan
    facts = report.as_json(dataset)
    for problem in report.problems:
        print(one_line(problem.message))
    count = len(report.problems) or 'no'
    print(f'{dataset.info.name} {dataset.split}: {report.samples} scenes, {count} problems')
    print(dataset.describe())
    for task in report.scans:
        print(f'{task}:')
        print_classes(facts['tasks'][task])
    for task in report.depths:
        print_depth(task, facts['tasks'][task])
    return facts


def stats(dataset: Dataset, processes: int) -> dict[str, Any]:
    """Measure a split task by task, print the statistics and return them for JSON."""
    tasks: dict[str, Any] = {}
    for task in dataset.tasks:
        if task.kind == CLASSES:
            print(f'{task.name}:')
            view = dataset.of_task(task.name)
            tasks[task.name] = print_statistics(view, compute_statistics(view, processes))
    nothing: dict[str, DepthFacts] = {}
    total = reduce(_added, map_samples(dataset, _depth_facts, processes, 'measuring'), nothing)
    for name, facts in total.items():
        tasks[name] = depth_as_json(facts)
        print_depth(name, tasks[name])
    return {'samples': len(dataset), 'tasks': tasks}


def _depth_facts(dataset: Dataset, index: int) -> dict[str, DepthFacts]:
    return {
        task.name: DepthFacts.of(dataset.target(index, task.name))
        for task in dataset.tasks
        if task.kind == DEPTH
    }


def _added(one: dict[str, DepthFacts], other: dict[str, DepthFacts]) -> dict[str, DepthFacts]:
    return {task: one.get(task, DepthFacts()) + facts for task, facts in other.items()}
