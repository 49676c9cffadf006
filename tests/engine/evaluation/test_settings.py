"""Settings of an evaluation."""

from pathlib import Path

import pytest

from common.errors import UserError
from engine.evaluation import EvaluationSettings


def test_contradictory_settings_are_refused():
    for words, message in (
        ({'limit': 0}, '--limit must be at least 1, not 0'),
        ({'format_only': Path('x'), 'boundary': True}, 'leave out --boundary'),
    ):
        with pytest.raises(UserError, match=message):
            EvaluationSettings(**words)
