"""Check and measure splits with several pictures or tasks."""

from typing import Any

from common.terminal.printable import one_line
from datasets.dataset import Dataset
from datasets.label_scan import LabelScan
from datasets.preparation.check_scenes import check_scenes, depth_as_json
from datasets.preparation.printing import (
    count_of_problems,
    print_classes,
    print_colours,
    print_depth,
    print_weights,
)
from datasets.preparation.scene_statistics import compute_scene_statistics
from datasets.samples import count_of


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
    counts = f'{count_of(report.samples, "scene")}, {count_of_problems(len(report.problems))}'
    print(f'{dataset.info.name} {dataset.split}: {counts}')
    print(dataset.describe())
    for task in report.scans:
        print(f'{task}:')
        print_classes(facts['tasks'][task])
    for task in report.depths:
        print_depth(task, facts['tasks'][task])
    return facts


def stats(dataset: Dataset, processes: int) -> dict[str, Any]:
    """Measure a split with tasks, print the statistics and return them for JSON."""
    found = compute_scene_statistics(dataset, processes)
    facts, tasks = print_colours(dataset, found.images), dict[str, Any]()
    for name, of_classes in found.classes.items():
        print(f'{name}:')
        tasks[name] = print_weights(dataset.info.of_task(name), of_classes)
    for name, depth in found.depths.items():
        tasks[name] = depth_as_json(depth)
        print_depth(name, tasks[name])
    return {**facts, 'tasks': tasks}
