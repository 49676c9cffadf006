"""A user's own small network with several inputs and tasks, for ``--import``."""

from dataclasses import dataclass

import models
from common.tasks import DEPTH, Task, TaskKeys, class_count, kind_of
from layers import functions as L
from layers import tasks as task_layers


@dataclass(frozen=True, kw_only=True)
class OwnTaskKeys(TaskKeys):
    """Inputs and tasks of the network."""


def tasks_of(hyper):
    if 'tasks' not in hyper:
        return (Task('segmentation', 'classes', hyper['num_classes']),)
    return tuple(
        Task(name, kind_of(name), channels, hyper.get('depth_range'))
        if kind_of(name) == DEPTH
        else Task(name, kind_of(name), channels)
        for name, channels in zip(hyper['tasks'], hyper['task_channels'])
    )


def graph(x, build, **hyper):
    own = [
        L.bn_relu(L.convolution(p, 8, 3, f'in{i}', build, stride=2, bias=False), f'bn{i}', build)
        for i, p in enumerate(task_layers.split_pictures(x, hyper.get('inputs', 1), build))
    ]
    x = L.concatenate(*own, build=build) if len(own) > 1 else own[0]
    x = L.bn_relu(L.convolution(x, 12, 3, 'conv', build, bias=False), 'bn', build)
    outputs = []
    for task in tasks_of(hyper):
        y = task_layers.tap(x, task.name, build)
        y = L.convolution(y, task.channels, 3, task.name, build)
        if task.kind == DEPTH:
            y = task_layers.clamp(y * 10 + 20, task.range)
        outputs.append(y)
    return outputs


def info(hyper):
    tasks = tasks_of(hyper)
    return models.NetworkInfo(
        num_classes=class_count(tasks),
        mean=(128.0,) * 3,
        std=(64.0,) * 3,
        size_divisor=2,
        smallest_size=8,
        inputs=hyper.get('inputs', 1),
        tasks=tasks,
        paper='none yet',
    )


models.register(
    models.Family(
        name='own_tasks',
        graph=graph,
        variants={'own_tasks': dict(num_classes=3)},
        info=info,
        keys=OwnTaskKeys,
    )
)
