"""The error that ends a request with a status and one plain line."""

from collections.abc import Mapping

from common.errors import UserError

RETRY_SECONDS = 5  # after which a client of a busy server may try again


class Refusal(UserError):
    """A request that is not answered.

    Attributes:
        status: Status code of HTTP.
        headers: Further headers of the answer.

    Args:
        status: Status code of HTTP.
        message: One line for the client: the fault and the remedy.
        headers: Further headers of the answer.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None):
        super().__init__(message)
        self.status, self.headers = status, dict(headers or {})


def busy(reason: str) -> Refusal:
    """Return the refusal of a request that may be repeated in a few seconds."""
    return Refusal(
        503,
        f'{reason}; try again in {RETRY_SECONDS} seconds',
        {'Retry-After': str(RETRY_SECONDS)},
    )
