"""Select the parameters that a training changes."""

from collections.abc import Iterable

import nnabla as nn

from common.errors import UserError
from common.patterns import matching_parameters


def trainable(frozen: Iterable[str]) -> dict[str, nn.Variable]:
    """Return the registered parameters that are trained.

    Args:
        frozen: Patterns of the names of parameters that are not trained.

    Raises:
        UserError: A pattern matches no parameter, or no parameter is left to train.
    """
    names = nn.get_parameters(grad_only=False)
    fixed = {name for pattern in frozen for name in matching_parameters('freeze', pattern, names)}
    left = {n: p for n, p in nn.get_parameters().items() if n not in fixed}
    if not left:
        raise UserError('freeze: leaves no parameter to train')
    return left
