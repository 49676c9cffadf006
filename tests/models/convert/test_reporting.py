"""The table that a conversion prints."""

from pathlib import Path

from models.convert import matching, reporting
from support import conversions
from support.conversions import SMALLEST


def test_the_table_lists_groups_or_every_array():
    shapes = matching.network_shapes(SMALLEST)
    found = matching.match_arrays([shapes], shapes)
    arguments = found, conversions.seeded(shapes), [Path('a.pth')]
    assert len(reporting.conversion_table(*arguments, verbose=False)) < 30
    lines = reporting.conversion_table(*arguments, verbose=True)
    assert len(lines) == len(shapes)
    own = 'encoder/features/0/0/conv/W'
    row = ['a.pth', 'encoder.features.0.0.weight', '->', own, '32x3x3x3']
    assert any(line.split() == row for line in lines)
