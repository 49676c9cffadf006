"""The peak convolution rate of the CPU."""

import pytest

from benchmarks.convolution_limit import ConvolutionLimit

pytestmark = pytest.mark.bench


@pytest.mark.parametrize('precision, known', [('float32', True), ('float16', False)])
def test_the_peak_rate_is_measured_where_openvino_has_the_precision(precision, known):
    limit = ConvolutionLimit(precision, 1)
    limit.turn()
    assert (limit.best is not None) == known
    assert not known or limit.best > 1
