"""A step of training of the same network in PyTorch, from the same parameters, on the same batch.

The graph of the loss goes over whole, batch and labels in it, as NNabla computes it; backward pass
and update (gradient descent with momentum) are PyTorch's.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import nnabla as nn
import numpy as np

import models
from command import UserError
from d3net.graph import functions
from engine import losses, recipe
from engine.benchmark import graph_file
from engine.benchmark.peer import Program
from engine.context import Choice
from engine.environment import gpu_memory_mib
from engine.recipe import Recipe

STEPS = 2  # of a turn; the last one is timed
TOLERANCE = 1e-4  # of the first loss


def batch(shape: tuple[int, ...], classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Seeded images (N, 3, H, W), float32, and labels (N, 1, H, W), int32, some of them ignored."""
    rng = np.random.RandomState(0)
    images = rng.randn(*shape).astype(np.float32)
    return images, rng.randint(-1, classes, (shape[0], 1, *shape[2:])).astype(np.int32)


def write(config: Mapping, size: tuple[int, int], folder: Path) -> Recipe:
    """Write the loss of a batch as files; returns what the training is.

    The parameters are those that a training process of NNabla starts from. Raises ``UserError`` for
    a config whose steps would be others, or random.
    """
    if config.get('solver', 'momentum') != 'momentum':
        raise UserError(f'--peer pytorch: solver {config["solver"]} has no counterpart here')
    nn.clear_parameters()
    nn.random.set_parameter_seed(0)
    network = models.create(config)
    shape, classes = (config['batch_size'], 3, *size), network.info.num_classes
    images, labels = batch(shape, classes)
    with nn.context_scope(nn.Context(['cpu:float'], 'CpuCachedArray', '0')):
        image = nn.Variable.from_numpy_array(images)
        outputs = network(image, train=True, cuda=False)
        objective = losses.from_config(config, classes).build(outputs, size)
    objective.feed(labels, objective.counts(labels))
    if any(function.info.type_name == 'Dropout' for function in functions(objective.loss)):
        raise UserError(f'--peer pytorch: {network.name} drops values at random: no step is equal')
    image.need_grad = False
    graph_file.write(folder, [], [objective.loss])
    return recipe.from_config(config, shape[0], 1)


class Contestant:
    """The process of one layout. losses: of all steps. peak: the most memory so far."""

    def __init__(
        self,
        name: str,
        python: str,
        folder: Path,
        config: Mapping,
        choice: Choice,
        training: Recipe,
        channels_last: bool,
    ):
        self._name, self._choice, self.losses = name, choice, []
        self._before, threads = self._gpu_memory(), len(os.sched_getaffinity(0))
        self._program = Program(name, python, folder, threads)
        try:
            version = self._program.ask(
                'start_training',
                folder=str(folder),
                device='cpu' if choice.name == 'cpu' else 'cuda',
                channels_last=channels_last,
                threads=threads,
                rate=training.rate(0),
                momentum=config.get('momentum', 0.9),
                weight_decay=training.weight_decay,
            )
        except BaseException:
            self.close()
            raise
        self.facts = {'PyTorch': version}

    def start(self, loss: float):
        """The first turn; raises ``UserError`` when its first loss is another than NNabla's."""
        self.turn()
        if not abs(self.losses[0] - loss) <= TOLERANCE * abs(loss):
            raise UserError(
                f'{self._name}: the first loss is {self.losses[0]:g}, that of NNabla {loss:g}, so '
                'its time would say nothing'
            )

    def turn(self) -> float:
        """Seconds of a step."""
        for _ in range(STEPS):
            loss, seconds = self._program.ask('step')
            self.losses.append(loss)
        if self._choice.name == 'cpu':
            self.peak = self._program.ask('memory')
        else:
            self.peak = self._gpu_memory() - self._before
        return seconds

    def _gpu_memory(self) -> float:
        return gpu_memory_mib(self._choice.device) if self._choice.name == 'cudnn' else 0.0

    def close(self):
        self._program.close()
