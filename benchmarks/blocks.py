"""Compare two forms of D3Net's evaluation graph: one running sum, and separate groups."""

from collections.abc import Mapping

import nnabla as nn
import numpy as np

import models
from benchmarks import harness
from benchmarks.plain import has_plain_form, plain_logits
from common.errors import UserError
from layers.functions import Build, on_gpu
from layers.graph import count_functions


def measure_blocks(
    config: Mapping, size: tuple[int, int], rounds: int
) -> tuple[list[harness.TimingResult], dict]:
    """Time the forward pass of both graphs; count their functions and compare their logits.

    Args:
        config: Config of a D3Net.
        size: Height and width of the image.
        rounds: Timed runs of each graph.

    Returns:
        The results, the plain graph first, and facts for the table.

    Raises:
        UserError: The network has no D2 blocks.
    """
    network = models.create(config)
    if not has_plain_form(network):
        raise UserError(f'network: {network.name} has no D2 blocks')
    x = nn.Variable.from_numpy_array(np.random.RandomState(0).randn(1, 3, *size).astype(np.float32))
    build = Build(cuda=on_gpu())
    graphs = {
        'plain': plain_logits(network, x, build),
        'merged': network(x)[0],
    }

    def runner(graph):
        def forward():
            graph.forward(clear_buffer=True)
            return graph.d  # a GPU's result is ready only after this access

        return forward

    results = harness.compare_in_turns(
        {name: runner(graph) for name, graph in graphs.items()}, rounds
    )
    facts: dict[str, float] = {
        f'functions, {name}': count_functions(graph) for name, graph in graphs.items()
    }
    facts['largest difference'] = float(abs(graphs['plain'].d - graphs['merged'].d).max())
    return results, facts
