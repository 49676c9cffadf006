"""Exceptions for mistakes in the use of networks and weights."""

from common.errors import UserError
from common.sections import SectionError


class ModelError(UserError):
    """A network or its weights are unavailable; the message names the cause and the remedy."""


class NonFiniteError(ModelError):
    """Weights have NaN or infinity; the message names the parameter."""


class UnsupportedFormatError(ModelError):
    """A file is sound, but of a format that is not read here; the message states the remedy."""


class HyperParameterError(SectionError, ModelError):
    """A hyper-parameter is missing, unknown or out of range; ``key`` names it."""
