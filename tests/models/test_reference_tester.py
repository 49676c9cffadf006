"""The comparison with the fixtures finds deviations and names the module where they begin."""

import nnabla as nn
import pytest

from support import reference_outputs
from support.reference_tester import Reference


@pytest.fixture
def reference(shared):
    reference = Reference('ddrnet23_slim', shared)
    reference.meta['cases'] = reference.meta['cases'][:1]
    return reference


def check(reference):
    reference.check_outputs(reference_outputs.ddrnet_evaluation)


def test_a_failure_names_the_modules_from_the_first_that_deviates(reference):
    mean = nn.get_parameters(grad_only=False)['layer4/0/bn1/bn/mean']
    mean.d = mean.d + 0.1
    after = 'layer4, compression4, layer5_, layer5, spp, final_layer'
    with pytest.raises(AssertionError, match=f'^case0: {after}$'):
        check(reference)


def test_an_unknown_module_is_a_failure(reference):
    reference.meta['intermediates'][2]['name'] = 'layer9'
    with pytest.raises(AssertionError, match='^case0: layer9$'):
        check(reference)


def test_a_fixture_without_intermediates_is_a_failure(reference):
    reference.meta['intermediates'] = []
    with pytest.raises(AssertionError):
        check(reference)
