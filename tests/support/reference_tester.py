"""Compare a network with the reference fixture of its original implementation."""

from itertools import chain

import nnabla as nn
import nnabla.functions as F
import numpy as np
import pytest

import models
from support import stand_ins

# Modules without parameters cannot be found by the names of parameters. This maps each of them to
# the module whose output it reads.
INPUT_OF = {
    'encoder.maxpool': 'encoder.bn3',
    **{f'decoder.ppm_pooling.{i}': 'encoder.layer4' for i in range(4)},
    'backbone.backbone.maxpool': 'backbone.backbone.stem',
    'backbone.SIM_0.h2l_pool': 'backbone.SIM_0.bnh_0',  # the second of its two calls
    'backbone.ffm.gap': 'backbone.ffm.conv1',
    'decoders.0.upsample1': 'decoders.0.aspp',
}


class Reference:
    """A fixture and the network of its name, with the fixture's seeded parameters registered.

    Attributes:
        seeded: Module ``seeded_weights`` of the reference material.
        meta: Content of the fixture's JSON file.
        arrays: Arrays of the fixture's ``.npz`` file by name.
        network: The network.
        names: NNabla's parameter names by those of the reference.
    """

    def __init__(self, name, shared):
        self.seeded = stand_ins.seeded_weights(shared)
        self.meta, self.arrays = self.seeded.load_fixture(name)
        self.inputs = 1
        self._register(name)

    @classmethod
    def with_tasks(cls, name, shared):
        """Return the reference of a fixture with several inputs or tasks.

        Its name has the network's and, behind ``_edgeailite_``, the inputs and tasks.
        """
        self = cls.__new__(cls)
        self.seeded = stand_ins.seeded_weights(shared)
        self.meta, self.arrays = self.seeded.load_fixture(name, shared / 'reference_tasks')
        self.inputs = len(self.meta['input_channels'])
        self._register(name.partition('_edgeailite_')[0] + '_edgeailite', **self._changes())
        return self

    def _changes(self):
        """Return the keywords of a fixture with several inputs or tasks."""
        tasks, original = self.meta['tasks'], self.meta['hyper_parameters']
        kinds = {task['name']: task['type'] for task in tasks}
        assert all((kind == 'depth') == (name == 'depth') for name, kind in kinds.items())
        ranges = original['output_range'] and [original['output_range'][0]]
        return dict(
            inputs=self.inputs,
            tasks=[task['name'] for task in tasks],
            task_channels=[task['channels'] for task in tasks],
            depth_range=ranges[0] if ranges else None,
            aspp_dil=original['aspp_dil'],
        )

    def _register(self, name, **changes):
        """Create the network and register the seeded parameters."""
        for entry, expected in self.meta['seed_check']:
            _, shape, kind = next(e for e in self.meta['state'] if e[0] == entry)
            first = self.seeded.seeded_array(entry, shape, kind, self.meta['weight_scale'])
            assert first.ravel()[:4] == pytest.approx(expected, rel=1e-6)
        self.network = models.create(name, **changes)
        height, width = self.meta['cases'][0]['input_shape'][2:]
        with stand_ins.zero_parameters():
            self.network(nn.Variable((1, 3 * self.inputs, height, width)))
        state = _seeded_state(self.seeded, self.meta)
        self.names = models.convert.names(state)
        models.weights.load(models.convert.from_pytorch(name, state), strict=True)

    def check_state(self):
        """Check names and shapes of all parameters, and the number of trainable values."""
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
        """Check the outputs of all cases.

        The intermediates are checked before the outputs, so that a failure names the first module
        that deviates.

        Args:
            compute: ``compute(network, x)`` returns the output Variables by name.
            with_intermediates: Whether to check the intermediates too. A graph for GPUs has other
                functions than the reference and thus other intermediates.

        Returns:
            The largest deviation of an output as a share of its tolerance.
        """
        worst = 0
        for case in self.meta['cases']:
            x = nn.Variable.from_numpy_array(self._input(case))
            outputs = compute(self.network, x)
            assert set(outputs) == set(case['outputs'])
            records = [r for r in self.meta['intermediates'] if r['case'] == case['case']]
            assert records or ('tasks' in self.meta and case['case'] != 'case0')
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
        """Return the candidate Variables for every record of a module's output.

        A candidate has the recorded shape and depends on the same parameters as the module's own
        layers. A record has several candidates if functions without parameters, such as ReLU, a sum
        or a resize, follow the last layer. The record does not state which of these functions the
        module includes.
        """
        maps = _maps(outputs)
        result = []
        for record in records:
            module = INPUT_OF.get(record['name'], record['name'])
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

    def _input(self, case):
        """Return the pictures of a case, stacked over channels."""
        pictures = case.get('inputs', [case])
        return np.concatenate([self.seeded.seeded_input(each) for each in pictures], axis=1)

    def check_training(self, compute, tolerance=2e-4):
        """Check outputs and running statistics of a forward pass with batch statistics.

        Args:
            compute: ``compute(network, x)`` returns the output Variables by name, without dropout.
            tolerance: Tolerance of single values in standard deviations. Rounding errors grow with
                every layer.
        """
        record = self.meta['train_mode']
        shape, seed = _input_of(record['recipe'])
        pictures = [np.random.RandomState(seed + j).randn(*shape) for j in range(self.inputs)]
        values = np.concatenate(pictures, axis=1).astype(np.float32)
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


MAX_REUSED_BYTES = 400 * 2**20
_latest_arrays = {}


def _seeded_state(seeded, meta):
    """Return the seeded parameters by name.

    Drawing tens of millions of numbers takes seconds, so arrays that the latest fixture has in
    common with this one are reused: those of the same encoder, or of a network without its
    auxiliary head. An array depends on its name, shape, kind and scale only.
    """
    scale, state, arrays = meta['weight_scale'], {}, {}
    for name, shape, kind in meta['state']:
        if kind in seeded.KINDS:
            key = name, tuple(shape), kind, scale
            if key not in _latest_arrays:
                _latest_arrays[key] = seeded.seeded_array(*key)
            state[name] = arrays[key] = _latest_arrays[key]
    _latest_arrays.clear()
    if sum(array.nbytes for array in arrays.values()) <= MAX_REUSED_BYTES:
        _latest_arrays.update(arrays)
    return state


def _maps(outputs):
    """Return every Variable that is computed from the input.

    Every Variable comes with the names of the parameters that its function reads, and the names of
    all parameters that it depends on.
    """
    depends = {
        hash(p.data): frozenset([name]) for name, p in nn.get_parameters(grad_only=False).items()
    }
    weights, maps = (
        set(depends),
        [],
    )  # weights: parameters and Variables computed from parameters alone

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
    """Return the deviation of the nearest Variable from the record, in standard deviations."""

    def distance(values):
        first = abs(values.ravel()[:8] - record['first8']).max()
        mean = abs(values.mean(dtype=np.float64) - record['mean'])
        std = abs(values.std(dtype=np.float64) - record['std'])
        return np.max([first, mean, std]) / record['std']  # NaN if one of them is NaN

    return min((distance(variable.d) for variable in variables), default=np.inf)


def _input_of(recipe):
    """Return shape and seed from ``... RandomState(21).randn(4,3,64,128) ...``.

    Input j of several is ``RandomState(21 + j)``.
    """
    recipe = recipe.replace(' + j', '')
    seed, _, rest = recipe.partition('RandomState(')[2].partition(').randn(')
    return tuple(map(int, rest.partition(')')[0].split(','))), int(seed)
