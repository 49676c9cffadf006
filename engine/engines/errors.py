"""What keeps an engine from being used."""

from command import UserError


class EngineError(UserError):
    """An engine cannot be used for a network here; another may be."""


class Disagreement(EngineError):
    """The export computes other numbers than the network does."""
