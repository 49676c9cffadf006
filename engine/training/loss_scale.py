"""Dynamic loss scaling: half precision keeps gradients that are small, and skips what overflows.

Micikevicius et al., "Mixed precision training", ICLR 2018, arXiv:1710.03740.
"""

LARGEST, SMALLEST = 2.0**24, 2.0**-14


class LossScale:
    """The factor of the loss. It is the same on all processes, which see the same summed gradients.

    A step whose gradients overflow is to be skipped, and halves the factor, unless that is
    ``exhausted``; ``patience`` good steps in a row double it. Not ``active``, it stays 1, and
    nothing is checked.
    """

    def __init__(self, active: bool, first: float = 2.0**15, patience: int = 2000):
        self.active, self._patience = active, patience
        self.factor = first if active else 1.0
        self.good_steps = 0

    @property
    def exhausted(self) -> bool:
        """Whether the factor cannot become smaller."""
        return self.factor <= SMALLEST

    def adapt(self, overflow: bool) -> None:
        """Note how a step went."""
        if overflow:
            self.factor, self.good_steps = max(self.factor / 2, SMALLEST), 0
            return
        self.good_steps += 1
        if self.good_steps == self._patience:
            self.factor, self.good_steps = min(self.factor * 2, LARGEST), 0

    def state(self) -> dict | None:
        """What JSON can hold; None when not active."""
        return {'factor': self.factor, 'good_steps': self.good_steps} if self.active else None

    def load_state(self, state: dict | None) -> None:
        """Go on from a state; from none, as at the start."""
        if self.active and state is not None:
            self.factor, self.good_steps = state['factor'], state['good_steps']
