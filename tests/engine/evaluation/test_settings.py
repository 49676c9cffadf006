"""Settings of an evaluation."""

from pathlib import Path

import pytest

from common.errors import UserError
from engine.evaluation import EvaluationSettings


def test_contradictory_settings_are_refused():
    for words, message in (
        ({'limit': 0}, '--limit must be at least 1, not 0'),
        ({'format_only': Path('x'), 'boundary': True}, 'leave out --boundary'),
        ({'format_only': Path('x'), 'per_image': Path('y')}, 'leave out --per-image'),
        ({'worst': 5}, '--worst 5 needs a folder: add --visualize DIR'),
        ({'worst': 0, 'visualize': Path('x')}, '--worst must be at least 1 and at most 100, not 0'),
    ):
        with pytest.raises(UserError, match=message):
            EvaluationSettings(**words)
