"""What every network is held to: the fixture that its original implementation made."""

import nnabla as nn
import numpy as np
import pytest

import helpers
import models


class Reference:
    """A fixture and the network of its name, with the fixture's seeded parameters registered."""

    def __init__(self, name, shared):
        self.seeded = helpers.seeded_weights(shared)
        self.meta, self.arrays = self.seeded.load_fixture(name)
        for entry, expected in self.meta['seed_check']:
            _, shape, kind = next(e for e in self.meta['state'] if e[0] == entry)
            first = self.seeded.seeded_array(entry, shape, kind, self.meta['weight_scale'])
            assert first.ravel()[:4] == pytest.approx(expected, rel=1e-6)
        self.network = models.create(name)
        height, width = self.meta['cases'][0]['input_shape'][2:]
        with helpers.zero_parameters():
            self.network(nn.Variable((1, 3, height, width)))
        state = dict(self.seeded.seeded_state(self.meta))
        self.names = models.convert.names(state)
        models.weights.load(models.convert.from_pytorch(name, state), strict=True)

    def check_state(self):
        """Names and shapes of all parameters, and the number of trainable ones."""
        shapes = {n: shape for n, shape, kind in self.meta['state'] if kind != 'skip'}
        own = {n: p.shape for n, p in nn.get_parameters(grad_only=False).items()}
        expected = {
            self.names[n]: (1, *shape, 1, 1) if '/bn/' in self.names[n] else tuple(shape)
            for n, shape in shapes.items()
        }
        assert own == expected
        trainable = sum(p.size for p in nn.get_parameters().values())
        assert trainable == self.meta['trainable_parameters']

    def check_outputs(self, compute):
        """All cases; ``compute(network, x)`` returns the outputs by name, as Variables."""
        for case in self.meta['cases']:
            x = nn.Variable.from_numpy_array(self.seeded.seeded_input(case))
            outputs = compute(self.network, x)
            assert set(outputs) == set(case['outputs'])
            for output in outputs.values():
                output.persistent = True
            nn.forward_all(list(outputs.values()), clear_buffer=True)
            for name, record in case['outputs'].items():
                where = f'{case["case"]} {name}'
                assert list(outputs[name].shape) == record['full_shape'], where
                stored = self.seeded.view_like_stored(outputs[name].d, record)
                expected = self.arrays[record['key']]
                if record['dtype'].startswith('int'):
                    assert np.mean(stored != expected) < 1e-3, where  # argmax of near ties
                    continue
                limit = max(1e-4 * record['std'], 5 * record['max_abs_dev_from_float64'])
                assert abs(stored - expected).max() <= limit, where

    def check_training(self, compute, tolerance=2e-3):
        """One forward pass with batch statistics, without dropout: outputs, running statistics;
        ``compute(network, x)`` returns the outputs by name.

        tolerance: of single values, in standard deviations. NNabla adds up batch statistics in
        float32; what that rounds away grows with every layer.
        """
        record = self.meta['train_mode']
        shape, seed = _input_of(record['recipe'])
        values = np.random.RandomState(seed).randn(*shape).astype(np.float32)
        outputs = compute(self.network, nn.Variable.from_numpy_array(values))
        nn.forward_all(list(outputs.values()))
        for expected in record['outputs']:
            output, std = outputs[expected['name']], expected['std']
            assert list(output.shape) == expected['shape'], expected['name']
            assert output.d.mean() == pytest.approx(expected['mean'], abs=2e-3 * std)
            assert output.d.std() == pytest.approx(std, rel=2e-3)
            assert output.d.ravel()[:8] == pytest.approx(expected['first8'], abs=tolerance * std)
        parameters = nn.get_parameters(grad_only=False)
        for name, expected in record['bn_running_stat_l2_after_forward'].items():
            if name in self.names:
                values = np.square(parameters[self.names[name]].d, dtype=np.float64)
                assert np.sqrt(values.sum()) == pytest.approx(expected, rel=1e-4), name


def _input_of(recipe):
    """Shape and seed from ``... RandomState(21).randn(4,3,64,128) ...``."""
    seed, _, rest = recipe.partition('RandomState(')[2].partition(').randn(')
    return tuple(map(int, rest.partition(')')[0].split(','))), int(seed)
