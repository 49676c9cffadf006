"""D3Net against Sony's implementation: parameter names, outputs, activations, learning rates.

Training is compared in tests/engine/training/test_published_training.py.
"""

import nnabla as nn
import pytest

from engine.training.schedules import poly
from support import stand_ins
from support.d3net_reference import D3NetReference

NETWORKS = ('d3net_s', 'd3net_l')


@pytest.mark.parametrize('name', NETWORKS)
def test_names_outputs_and_activations_equal_sonys(name, shared):
    """One test for all three, because filling the parameters takes most of the time."""
    reference = D3NetReference(name, shared)
    check_parameters(reference.meta)
    checked = 0
    for case, outputs in reference.run():
        reference.worst_deviation(case, outputs)
        checked += check_activations(reference.meta, case, outputs['logits_lowres'])
    assert checked == len(reference.meta['intermediates'])


def check_parameters(meta):
    """The state has Sony's names and shapes in Sony's order."""
    own = [[name, list(p.shape)] for name, p in nn.get_parameters(grad_only=False).items()]
    assert own == [[name, shape] for name, shape, _ in meta['state']]
    trainable = sum(p.size for p in nn.get_parameters().values())
    assert trainable == meta['trainable_parameters']


def check_activations(meta, case, logits):
    """Compare the recorded activations of a case and return their number."""
    activations = named_activations(logits)
    records = [record for record in meta['intermediates'] if record['case'] == case['case']]
    for record in records:
        values = activations[record['name']]
        tolerance = 1e-4 * record['std']
        assert list(values.shape) == record['shape'], record['name']
        assert values.ravel()[:8] == pytest.approx(record['first8'], abs=tolerance)
        assert values.mean() == pytest.approx(record['mean'], abs=tolerance)
        assert values.std() == pytest.approx(record['std'], rel=1e-4)
    return len(records)


def named_activations(output):
    """Return the outputs of convolutions by the scope of their weights, and of poolings.

    An average pooling has the scope of its transition.
    """
    names = {hash(p.data): name for name, p in nn.get_parameters(grad_only=False).items()}
    found, latest = {}, None

    def visit(function):
        nonlocal latest
        if function.info.type_name == 'Convolution':
            latest = names[hash(function.inputs[1].data)].rsplit('/', 1)[0]
            found[f'{latest} output'] = function.outputs[0].d.copy()
        elif function.info.type_name == 'AveragePooling':
            scope = latest.removesuffix('/conv/conv')
            found[f'{scope} average_pooling output'] = function.outputs[0].d.copy()

    output.visit(visit)
    return found


@pytest.mark.parametrize('network', NETWORKS)
def test_poly_learning_rate(network, shared):
    meta, _ = stand_ins.seeded_weights(shared).load_fixture(network)
    hyper = {key: meta['hyper_parameters'][key] for key in ('lr', 'min_lr', 'max_iter', 'power')}
    for iteration, expected in meta['poly_lr'].items():
        assert poly(int(iteration), **hyper) == pytest.approx(expected, rel=1e-12)
