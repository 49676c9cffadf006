"""The evaluation graph of D3Net with the running sum of a D2 block as one tensor, and plainly."""

from collections.abc import Mapping

import nnabla as nn
import numpy as np

import models
from benchmarks import frame
from benchmarks.plain import has_plain_form, plain_logits
from common.errors import UserError
from layers.functions import Build, on_gpu
from layers.graph import count_functions


def measure(config: Mapping, size: tuple[int, int], rounds: int) -> tuple[list[frame.Result], dict]:
    """Times of the forward pass of both graphs; and their functions, and how far they differ."""
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
            return graph.d  # waits for a GPU

        return forward

    results = frame.compare({name: runner(graph) for name, graph in graphs.items()}, rounds)
    facts: dict[str, float] = {
        f'functions, {name}': count_functions(graph) for name, graph in graphs.items()
    }
    facts['largest difference'] = float(abs(graphs['plain'].d - graphs['merged'].d).max())
    return results, facts
