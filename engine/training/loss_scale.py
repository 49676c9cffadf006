"""Dynamic loss scaling: preserve small gradients in half precision, skip steps that overflow.

Micikevicius et al., "Mixed precision training", ICLR 2018, arXiv:1710.03740.
"""

MAX_SCALE, MIN_SCALE = 2.0**24, 2.0**-14


class LossScale:
    """The dynamic scale of the loss.

    When the gradients overflow, the caller skips the step, and the scale is halved, down to
    ``MIN_SCALE``. After ``patience`` consecutive steps without overflow the scale is doubled, up to
    ``MAX_SCALE``. All ranks have the same summed gradients, so their scales stay equal.

    Args:
        active: Whether the loss is scaled; otherwise the scale stays 1.
        first: The initial scale.
        patience: Consecutive steps without overflow before the scale is doubled.

    Attributes:
        active: Whether the loss is scaled.
        factor: The current scale.
        good_steps: Steps without overflow since the last change of the scale.
    """

    def __init__(self, active: bool, first: float = 2.0**15, patience: int = 2000):
        self.active, self._patience = active, patience
        self.factor = first if active else 1.0
        self.good_steps = 0

    @property
    def exhausted(self) -> bool:
        """Whether the scale has reached its minimum."""
        return self.factor <= MIN_SCALE

    def adapt(self, overflow: bool) -> None:
        """Adapt the scale after a step; ``overflow``: whether its gradients overflowed."""
        if overflow:
            self.factor, self.good_steps = max(self.factor / 2, MIN_SCALE), 0
            return
        self.good_steps += 1
        if self.good_steps == self._patience:
            self.factor, self.good_steps = min(self.factor * 2, MAX_SCALE), 0

    def state(self) -> dict | None:
        """Return the state as JSON values; None when not active."""
        return {'factor': self.factor, 'good_steps': self.good_steps} if self.active else None

    def load_state(self, state: dict | None) -> None:
        """Restore a :meth:`state`; None keeps the initial values."""
        if self.active and state is not None:
            self.factor, self.good_steps = state['factor'], state['good_steps']
