"""What every network is held to: the fixture that its original implementation made."""

from itertools import chain

import nnabla as nn
import nnabla.functions as F
import numpy as np
import pytest

import models
from support import stand_ins

# Modules without parameters, whose names say nothing about their place in a graph: for each the
# module whose output it takes.
TAKES = {
    'encoder.maxpool': 'encoder.bn3',
    **{f'decoder.ppm_pooling.{i}': 'encoder.layer4' for i in range(4)},
    'backbone.backbone.maxpool': 'backbone.backbone.stem',
    'backbone.SIM_0.h2l_pool': 'backbone.SIM_0.bnh_0',  # in the second of its two calls
    'backbone.ffm.gap': 'backbone.ffm.conv1',
    'decoders.0.upsample1': 'decoders.0.aspp',
}


class Reference:
    """A fixture and the network of its name, with the fixture's seeded parameters registered."""

    def __init__(self, name, shared):
        self.seeded = stand_ins.seeded_weights(shared)
        self.meta, self.arrays = self.seeded.load_fixture(name)
        for entry, expected in self.meta['seed_check']:
            _, shape, kind = next(e for e in self.meta['state'] if e[0] == entry)
            first = self.seeded.seeded_array(entry, shape, kind, self.meta['weight_scale'])
            assert first.ravel()[:4] == pytest.approx(expected, rel=1e-6)
        self.network = models.create(name)
        height, width = self.meta['cases'][0]['input_shape'][2:]
        with stand_ins.zero_parameters():
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

    def check_outputs(self, compute, with_intermediates=True):
        """Check all cases, and before the outputs the intermediates, so that a failure says where
        in the network it begins.

        Args:
            compute: ``compute(network, x)`` returns the outputs by name, as Variables.
            with_intermediates: False where the graph has other functions than the reference, as
                that for GPUs.

        Returns:
            The largest deviation of an output, as a share of what is allowed.
        """
        worst = 0
        for case in self.meta['cases']:
            x = nn.Variable.from_numpy_array(self.seeded.seeded_input(case))
            outputs = compute(self.network, x)
            assert set(outputs) == set(case['outputs'])
            records = [r for r in self.meta['intermediates'] if r['case'] == case['case']]
            assert records
            records = records if with_intermediates else []
            places = self._places(outputs.values(), records)
            for variable in [*outputs.values(), *chain(*places)]:
                variable.persistent = True
            nn.forward_all(list(outputs.values()), clear_buffer=True)
            deviations = {r['name']: _deviation(r, found) for r, found in zip(records, places)}
            wrong = [name for name, deviation in deviations.items() if not deviation <= 1e-4]
            assert not wrong, f'{case["case"]}: {", ".join(wrong)}'
            assert len(deviations) == len(records)
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
                worst = max(worst, abs(stored - expected).max() / limit)
        return worst

    def _places(self, outputs, records):
        """For each record of an intermediate, a module's output, the Variables that it can be.

        Those have its shape and depend on the parameters that the module's own layers depend on,
        and on no others. There are several where functions without parameters follow the last
        layer, ReLU or a sum or resizing: how many of them belong to the module is not recorded.
        """
        maps = _maps(outputs)
        result = []
        for record in records:
            module = TAKES.get(record['name'], record['name'])
            own = {ours for name, ours in self.names.items() if name.startswith(f'{module}.')}
            behind = frozenset().union(*(every for _, taken, every in maps if taken & own))
            result.append(
                [
                    variable
                    for variable, _, every in maps
                    if every == behind and list(variable.shape) == record['shape']
                ]
            )
        return result

    def check_training(self, compute, tolerance=2e-4):
        """One forward pass with batch statistics, without dropout: outputs, running statistics;
        ``compute(network, x)`` returns the outputs by name.

        tolerance: of single values, in standard deviations; what is rounded grows with every layer.
        """
        record = self.meta['train_mode']
        shape, seed = _input_of(record['recipe'])
        values = np.random.RandomState(seed).randn(*shape).astype(np.float32)
        outputs = compute(self.network, nn.Variable.from_numpy_array(values))
        nn.forward_all(list(outputs.values()))
        for expected in record['outputs']:
            output, std = outputs[expected['name']], expected['std']
            assert list(output.shape) == expected['shape'], expected['name']
            assert output.d.mean() == pytest.approx(expected['mean'], abs=tolerance * std)
            assert output.d.std() == pytest.approx(std, rel=tolerance)
            assert output.d.ravel()[:8] == pytest.approx(expected['first8'], abs=tolerance * std)
        parameters = nn.get_parameters(grad_only=False)
        for name, expected in record['bn_running_stat_l2_after_forward'].items():
            if name in self.names:
                values = np.square(parameters[self.names[name]].d, dtype=np.float64)
                assert np.sqrt(values.sum()) == pytest.approx(expected, rel=1e-4), name


def _maps(outputs):
    """Every Variable that is computed from the input, with the names of the parameters that its
    function takes, and of all that it depends on.
    """
    depends = {
        hash(p.data): frozenset([name]) for name, p in nn.get_parameters(grad_only=False).items()
    }
    weights, maps = set(depends), []  # weights: parameters, and what is computed from them alone

    def visit(function):
        inputs = [hash(variable.data) for variable in function.inputs]
        taken = frozenset().union(*(depends[i] for i in inputs if i in weights))
        every = frozenset().union(*(depends.get(i, ()) for i in inputs))
        for variable in function.outputs:
            depends[hash(variable.data)] = every
            if weights.issuperset(inputs):
                weights.add(hash(variable.data))
            else:
                maps.append((variable, taken, every))

    F.sink(*outputs).visit(visit)
    return maps


def _deviation(record, variables):
    """How far the nearest Variable is from what is recorded, in standard deviations."""

    def distance(values):
        first = abs(values.ravel()[:8] - record['first8']).max()
        mean = abs(values.mean(dtype=np.float64) - record['mean'])
        std = abs(values.std(dtype=np.float64) - record['std'])
        return np.max([first, mean, std]) / record['std']  # NaN where one of them is

    return min((distance(variable.d) for variable in variables), default=np.inf)


def _input_of(recipe):
    """Shape and seed from ``... RandomState(21).randn(4,3,64,128) ...``."""
    seed, _, rest = recipe.partition('RandomState(')[2].partition(').randn(')
    return tuple(map(int, rest.partition(')')[0].split(','))), int(seed)
