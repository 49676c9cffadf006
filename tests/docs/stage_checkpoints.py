"""Checkpoints as the authors of networks publish them, with random values, for the pages."""

from pathlib import Path

import nnabla as nn

import models
from layers.workspace import Workspace
from support.checkpoint_writer import Checkpoint


def checkpoints(network: str, **files: str):
    """Return what writes checkpoints of PyTorch.

    Args:
        network: Name of the network.
        **files: Path of a file for each part of the network: ``encoder``, ``decoder``, or
            ``whole``.
    """

    def stage(folder: Path):
        with Workspace({}).entered():
            nn.random.set_parameter_seed(0)
            models.create(network)(nn.Variable((1, 3, 64, 128)))
            arrays = {n: p.d.copy() for n, p in nn.get_parameters(grad_only=False).items()}
        state = models.convert.to_pytorch(network, arrays)
        for part, name in files.items():
            start = '' if part == 'whole' else f'{part}.'
            own = {n.removeprefix(start): a for n, a in state.items() if n.startswith(start)}
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            checkpoint = Checkpoint()
            checkpoint.save(folder / name, checkpoint.state(own))

    return stage
