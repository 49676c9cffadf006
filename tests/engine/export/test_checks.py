"""The comparison of an exported file with NNabla detects wrong results."""

import re

import numpy as np
import pytest

from engine.export import checks
from engine.export.spec import ExportSpec
from support.exported import logits_of, tiny


@pytest.mark.parametrize('kind', ['logits', 'probabilities', 'labels'])
def test_a_comparison_detects_wrong_results(kind):
    """Reversed channels, reordered images, missing images, NaN."""
    network, size, spec = tiny(), (45, 70), ExportSpec(kind)

    def right(x):
        y = logits_of(network, x)
        powers = np.exp(y)
        return {
            'logits': y,
            'probabilities': powers / powers.sum(axis=1, keepdims=True),
            'labels': y.argmax(axis=1),
        }[kind]

    def compare(run):
        outputs = lambda x: [run(x)]  # noqa: E731
        return checks.compare_with_network(outputs, 'x', network, [size], spec, (1, 3))

    report = compare(right)
    assert report.matches
    assert float(re.search(r'([\d.]+)% of labels equal', str(report)).group(1)) > 99.9
    assert not compare(lambda x: right(x[:, ::-1])).matches
    assert not compare(lambda x: right(x[::-1])).matches
    assert not compare(lambda x: right(x)[:1]).matches
    if kind != 'labels':
        assert not compare(lambda x: right(x) * np.float32('nan')).matches
