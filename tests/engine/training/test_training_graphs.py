"""The cache of training graphs, one for each shape of a batch."""

from types import SimpleNamespace

import nnabla as nn
import numpy as np

from support.small_trainers import (
    CONFIG,
    RepeatingLoader,
    batches,
    make_trainer,
    small_network,
    values,
)


def test_the_cache_of_graphs_does_not_change_results():
    """There are more image sizes than cached graphs."""
    sizes = [(24, 40 + 8 * n) for n in range(18)]
    rng = np.random.RandomState(0)
    data = [
        (rng.randn(2, 3, *size).astype(np.float32), rng.randint(0, 5, (2, 1, *size), np.int32))
        for size in sizes
    ]
    trainer = make_trainer(small_network(), {**CONFIG, 'max_iter': 40}, RepeatingLoader(*data))
    for _ in range(36):
        assert np.isfinite(trainer.step().loss)
    together = values()
    nn.clear_parameters()
    network, state = small_network(), None
    for batch in data * 2:  # a new trainer, and so a new graph, for each step
        trainer = make_trainer(network, {**CONFIG, 'max_iter': 40}, RepeatingLoader(batch))
        if state:
            trainer.load_state(SimpleNamespace(**state))
        trainer.step()
        state = trainer.state()
    assert all(np.array_equal(together[name], array) for name, array in values().items())


def test_the_graph_of_the_self_check_is_not_cached():
    trainer = make_trainer(small_network(), CONFIG, RepeatingLoader(*batches()))
    assert trainer.loss((2, 3, 24, 40)) != trainer.loss((2, 3, 24, 40))
