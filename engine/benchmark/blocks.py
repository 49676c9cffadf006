"""The evaluation graph of D3Net with the running sum of a D2 block as one tensor, and plainly."""

from collections.abc import Mapping

import nnabla as nn
import numpy as np

import models
from command import UserError
from d3net.graph import count_functions
from d3net.layers import Build, on_gpu
from engine.benchmark import frame
from engine.benchmark.plain import plain_layers


def measure(config: Mapping, size: tuple[int, int], rounds: int) -> tuple[list[frame.Result], dict]:
    """Times of the forward pass of both graphs; and their functions, and how far they differ."""
    network = models.create(config)
    if network.family.name != 'd3net':
        raise UserError(f'network: {network.name} has no D2 blocks')
    x = nn.Variable.from_numpy_array(np.random.RandomState(0).randn(1, 3, *size).astype(np.float32))
    build = Build(cuda=on_gpu())
    graphs = {
        'plain': network.family.graph(x, build, layers=plain_layers, **network.hyper)[0],
        'merged': network(x)[0],
    }

    def runner(graph):
        def forward():
            graph.forward(clear_buffer=True)
            return graph.d  # waits for a GPU

        return forward

    results = frame.compare({name: runner(graph) for name, graph in graphs.items()}, rounds)
    facts = {f'functions, {name}': count_functions(graph) for name, graph in graphs.items()}
    facts['largest difference'] = float(abs(graphs['plain'].d - graphs['merged'].d).max())
    return results, facts
