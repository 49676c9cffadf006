"""What a user of the networks can get wrong."""

from common.errors import UserError
from common.sections import SectionError


class ModelError(UserError):
    """A network or its weights cannot be had as asked; the message says what is wrong and what to
    do.
    """


class HyperParameterError(SectionError, ModelError):
    """A hyper-parameter is missing, unknown or out of range; ``key`` names it."""
