"""Remember which weights of a run have the best validation score."""

from collections.abc import Mapping
from typing import Any


class BestWeights:
    """The best validation of a run.

    The score is the mIoU. Of several tasks it is the report's ``score``, which is only compared
    with scores of the same weights of the tasks; that a resumed run counts other depths, by another
    ``test_depth_range``, is not noticed. An undefined score is never better than a defined one.

    Args:
        facts: The :attr:`facts` of an earlier part of the run; None without one.

    Attributes:
        facts: ``miou``, or ``score`` and ``score_weights``, and ``iteration`` of the best
            validation; None before the first one. A ``score`` can be None: undefined.
    """

    def __init__(self, facts: dict[str, Any] | None = None):
        self.facts = facts

    def is_beaten(self, report: Mapping[str, Any], iteration: int) -> bool:
        """Return whether a validation is better than all before, and remember it if it is.

        Args:
            report: The report of the validation.
            iteration: Number of completed iterations.
        """
        several = 'tasks' in report
        key = 'score' if several else 'miou'
        score = report[key]
        # No mIoU is below 0; scores of several tasks can be.
        own = {key: score if several else score or 0, 'iteration': iteration}
        if several:
            own['score_weights'] = report['score_weights']
        old = self.facts
        comparable = old and key in old and old.get('score_weights') == own.get('score_weights')
        if old and score is None:
            return False
        if old and comparable and old[key] is not None and score <= old[key]:
            return False
        self.facts = own
        return True
