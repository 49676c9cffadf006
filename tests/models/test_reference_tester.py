"""What the fixtures are compared by finds what differs."""

import nnabla as nn
import pytest

from support.reference_tester import Reference
from tests.models.test_ddrnet import named


@pytest.fixture
def reference(shared):
    reference = Reference('ddrnet23_slim', shared)
    reference.meta['cases'] = reference.meta['cases'][:1]
    return reference


def check(reference):
    reference.check_outputs(lambda network, x: named(network(x, aux=True)))


def test_a_failure_names_the_modules_from_where_it_begins(reference):
    mean = nn.get_parameters(grad_only=False)['layer4/0/bn1/bn/mean']
    mean.d = mean.d + 0.1
    after = 'layer4, compression4, layer5_, layer5, spp, final_layer'
    with pytest.raises(AssertionError, match=f'^case0: {after}$'):
        check(reference)


def test_a_module_that_is_nowhere_is_a_failure(reference):
    reference.meta['intermediates'][2]['name'] = 'layer9'
    with pytest.raises(AssertionError, match='^case0: layer9$'):
        check(reference)


def test_a_fixture_without_intermediates_is_a_failure(reference):
    reference.meta['intermediates'] = []
    with pytest.raises(AssertionError):
        check(reference)
