"""Train small networks for a few steps, in one process or as the ranks of an MPI job.

    mpirun -n 2 python tests/support/mpi_training.py DATA OUT CASES [CONTEXT]

CASES is JSON: {"name": {"network": "plain", any key of a config: its value}}.

Rank 0 writes all parameters and the losses of each case to OUT/<name>.npz. CONTEXT is a value of
train.py's -c, by default cpu.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import nnabla as nn
import nnabla.functions as F
import numpy as np

import datasets
import models
from common.tasks import CLASSES as OF_CLASSES
from common.tasks import DEPTH, Task, TaskKeys
from datasets.loading import augmentations
from datasets.loading.loader import Loader
from datasets.samples import SceneFiles
from engine.device import context
from engine.distributed import communicators
from engine.distributed.processes import Processes, joined
from engine.inference.predictor import Predictor
from engine.training import losses, optimizer
from engine.training.hyperparameters import Hyperparameters, TrainingKeys, derive_hyperparameters
from engine.training.optimizer import SolverKeys
from engine.training.schedules import ScheduleKeys
from engine.training.step import Step
from engine.training.trainer import Trainer
from layers import functions as L
from layers import tasks as task_layers
from models.family import Family, NetworkInfo
from models.registry import Network
from support import stand_ins

HEIGHT, WIDTH, CLASSES = 32, 48, 5
SCENE_TASKS = (
    Task('depth', DEPTH, 1, (0.0, 128.0)),
    Task('segmentation', OF_CLASSES, 3),
    Task('motion', OF_CLASSES, 2),
)
# Keys of the network ``scene``.
SCENE = {
    'network': 'scene',
    'inputs': 2,
    'tasks': ['depth', 'segmentation', 'motion'],
    'task_channels': [1, 3, 2],
    'depth_range': [0, 128],
    'depth_variance_weight': 0.01,
}
CONFIG = {
    'lr': 0.2,
    'weight_decay': 1e-3,
    'max_iter': 10,
    'image_height': HEIGHT - 8,
    'image_width': WIDTH - 8,
    'flip': 0.5,
}


def write_data(root: Path, train: int = 16, val: int = 5):
    """Write a seeded data set for the reader ``folder``.

    Every label map ignores a different number of rows.
    """
    for split, count in (('train', train), ('val', val)):
        for folder in ('images', 'labels'):
            (root / folder / split).mkdir(parents=True)
        for i in range(count):
            rng = np.random.RandomState(i)
            labels = rng.randint(0, CLASSES, (HEIGHT // 8, WIDTH // 8)).repeat(8, 0).repeat(8, 1)
            labels[: 5 * i % HEIGHT] = 255
            cv2.imwrite(str(root / 'labels' / split / f'{i}.png'), labels.astype(np.uint8))
            image = stand_ins.image(HEIGHT, WIDTH, i) // 2 + 20 * (labels[..., None] % CLASSES)
            cv2.imwrite(str(root / 'images' / split / f'{i}.png'), image.astype(np.uint8))
    (root / 'dataset.yaml').write_text('classes: [a, b, c, d, e]\nlabel_format: indices\n')


def plain(x, build):
    """Build two convolutions with biases."""
    x = F.relu(L.convolution(x, 8, 3, 'conv1', build, stride=2))
    return [L.convolution(x, CLASSES, 3, 'conv2', build)]


def normed(x, build):
    """Build convolutions with batch norm, and a last one without.

    Convolutions before a batch norm have no bias. Its gradient is mathematically zero, so that the
    computed gradient would consist of rounding errors.
    """
    x = L.convolution(x, 8, 3, 'conv1', build, stride=2, bias=False)
    x = L.bn_relu(x, 'bn1', build)
    with L.recomputed_block(build):
        y = L.convolution(x, 8, 3, 'conv2', build, bias=False)
        x = x + L.relu(L.batch_norm(y, 'bn2', build), build)
    return [L.convolution(x, CLASSES, 1, 'conv3', build)]


def gated(x, build):
    """Build convolutions with batch norm, and an attention gate, the sigmoid of a ReLU."""
    x = L.convolution(x, 8, 3, 'conv1', build, stride=2, bias=False)
    x = L.bn_relu(x, 'bn1', build)
    y = L.bn_relu(L.convolution(x, 8, 1, 'gate', build, bias=False), 'gate_bn', build)
    return [L.convolution(x * L.sigmoid(y), CLASSES, 1, 'conv3', build)]


def scene(x, build):
    """Build a network with two pictures and three tasks: one encoder, a head for each task."""
    own = [
        L.bn_relu(L.convolution(p, 6, 3, f'in{i}', build, stride=2, bias=False), f'bn{i}', build)
        for i, p in enumerate(task_layers.split_pictures(x, 2, build))
    ]
    x = L.convolution(L.concatenate(*own, build=build), 8, 3, 'conv2', build, bias=False)
    x = L.bn_relu(x, 'bn2', build)
    outputs = []
    for task in SCENE_TASKS:
        y = task_layers.tap(x, task.name, build)
        y = L.convolution(y, task.channels, 3, task.name, build)
        if task.kind == DEPTH:  # metres that start in the middle of the range
            y = task_layers.clamp(y * 10 + 20, task.range)
        outputs.append(y)
    return outputs


def network(name: str) -> Network:
    """Return a network: ``d3net``, a tiny one, a registered name, or a function of this module."""
    if name == 'd3net':
        return stand_ins.tiny(num_classes=CLASSES)
    if name in models.names():
        return models.create(name)
    facts = dict(mean=(120,) * 3, std=(60,) * 3, smallest_size=8, paper='none')
    if name == 'scene':
        info = NetworkInfo(num_classes=3, inputs=2, tasks=SCENE_TASKS, **facts)
    else:
        info = NetworkInfo(num_classes=CLASSES, **facts)
    family = Family(name=name, graph=globals()[name], variants={}, info=lambda hyper: info)
    return Network(name, family, {}, info)


def hyperparameters_of(config: Mapping, samples: int, processes: int) -> Hyperparameters:
    """Derive the hyperparameters of a config for numbers of samples and processes."""
    sections = (kind.of(config) for kind in (TrainingKeys, ScheduleKeys, SolverKeys))
    return derive_hyperparameters(*sections, samples, processes)


def solver_of(net: Network, config: Mapping) -> SolverKeys:
    """Return the solver's keys, completed by the form of momentum of the network's family."""
    keys = SolverKeys.of(config)
    return replace(keys, momentum_form=optimizer.momentum_form(keys, net.family.momentum_form))


def trainer_of(
    net: Network, config: Mapping, steps: Hyperparameters, *arguments, **options
) -> Trainer:
    """Create a trainer of a network with registered parameters, as train.py does.

    Args:
        net: The network.
        config: The config.
        steps: The hyperparameters.
        *arguments: Positional arguments of :class:`Trainer` from ``loader`` on.
        **options: Keyword arguments of :class:`Trainer`.
    """
    criterion = losses.create_for(config, net.info)
    options = {'seed': 0, 'frozen': TrainingKeys.of(config).freeze, **options}
    return Trainer(net, criterion, solver_of(net, config), steps, *arguments, **options)


def train(
    data: Path, processes: Processes, case: dict, where: str = 'cpu'
) -> dict[str, np.ndarray]:
    """Train a case and return its parameters by name, its ``losses``, and scales of tasks.

    Args:
        data: The root of the data set.
        processes: All processes of the job.
        case: ``network``, ``steps``, ``build`` (an argument of :class:`Trainer`) and config keys.
        where: The context, ``cpu`` or ``cudnn``; every process uses its own GPU.
    """
    case = {'network': 'plain', 'steps': 3, 'build': {}, **case}
    config = CONFIG | case
    choice = context.use(where, device=processes.local_rank)
    nn.clear_parameters()
    net = network(case['network'])
    Predictor(net)
    stand_ins.randomize_parameters()
    tasks = TaskKeys.of_config(config)
    wanted = SceneFiles(net.info.inputs, tuple(task.name for task in tasks))
    split = replace(datasets.open('folder', data, 'train', wanted=wanted), tasks=tasks)
    steps = hyperparameters_of(config, len(split), processes.size)
    loader = Loader(
        split,
        augmentations.create(config),
        steps.batch_size,
        net.info.mean,
        net.info.std,
        net.info.channel_order,
        workers=0,
    ).slice(num_of_slices=processes.size, slice_pos=processes.rank)
    communicator = communicators.connect(processes, choice)
    build = {'communicator': communicator, **case['build']}
    trainer = trainer_of(net, config, steps, loader, processes, communicator, build=build)
    found = [trainer.step() for _ in range(case['steps'])]
    return {n: p.d.copy() for n, p in nn.get_parameters(grad_only=False).items()} | {
        'losses': np.array([step.loss for step in found]),
        'scales': _equal_scales(found, processes),
    }


def _equal_scales(steps: list[Step], processes: Processes) -> np.ndarray:
    """Return the scales of the tasks after each step, which are the same on all ranks."""
    ranks = processes.gather([list(step.task_scales.values()) for step in steps])
    assert all(scales == ranks[0] for scales in ranks)
    return np.array(ranks[0])


def main():
    """Train the cases of the command line, and let rank 0 write the results."""
    data, out, cases = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    where = sys.argv[4] if len(sys.argv) > 4 else 'cpu'
    with joined() as processes:
        for name, case in cases.items():
            arrays = train(data, processes, case, where)
            if not processes.rank:
                np.savez(out / f'{name}.npz', **arrays)


if __name__ == '__main__':
    main()
