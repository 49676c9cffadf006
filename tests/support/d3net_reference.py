"""Compare D3Net with the reference fixtures of Sony's implementation."""

import nnabla as nn
import nnabla.functions as F
import pytest

import models
from layers import functions as L
from support import stand_ins


class D3NetReference:
    """A reference fixture and the network with the fixture's parameters.

    Attributes:
        meta: The description of the fixture.
        network: The network; its parameters are registered.
    """

    def __init__(self, name, shared):
        self._seeded = stand_ins.seeded_weights(shared)
        self.meta, self._arrays = self._seeded.load_fixture(name)
        for entry, expected in self.meta['seed_check']:
            _, shape, kind = next(each for each in self.meta['state'] if each[0] == entry)
            values = self._seeded.seeded_array(entry, shape, kind, self.meta['weight_scale'])
            assert values.ravel()[:4] == pytest.approx(expected, rel=1e-6)
        self.network = models.create(name)
        self.network(nn.Variable((1, 3, 64, 64)))
        models.weights.load(dict(self._seeded.seeded_state(self.meta)))

    def run(self):
        """Yield every case of the fixture with the outputs of the network by name."""
        for case in self.meta['cases']:
            x = nn.Variable.from_numpy_array(self._seeded.seeded_input(case))
            logits = self.network(x)[0]
            full_size = L.resize(logits, x.shape[2:])
            outputs = {
                'logits_lowres': logits,
                'logits': full_size,
                'prob': F.softmax(full_size, axis=1),
            }
            nn.forward_all(list(outputs.values()))
            yield case, outputs

    def worst_deviation(self, case, outputs):
        """Return the largest deviation of a case's outputs, as a share of the tolerance."""
        assert set(outputs) == set(case['outputs'])
        shares = []
        for name, record in case['outputs'].items():
            assert list(outputs[name].shape) == record['full_shape']
            stored = self._seeded.view_like_stored(outputs[name].d, record)
            deviation = abs(stored - self._arrays[record['key']]).max()
            limit = max(1e-4 * record['std'], 5 * record['max_abs_dev_from_float64'])
            assert deviation <= limit, (case['case'], name)
            shares.append(deviation / limit)
        return max(shares)

    def check_outputs(self):
        """Check all cases and return the largest deviation, as a share of the tolerance."""
        return max(self.worst_deviation(*each) for each in self.run())
