"""Check arrays that were kept in a state against those that they shall replace."""

from collections.abc import Mapping

import numpy as np

from common.errors import UserError


def check_fit(own: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray], whose: str) -> None:
    """Check that a state that was kept can replace another.

    Args:
        own: The state to replace, arrays by name.
        arrays: What was kept.
        whose: For the message, such as ``the solver's``.

    Raises:
        UserError: Names or shapes differ.
    """
    problem = None
    for name in [*own, *arrays]:
        if name not in arrays:
            problem = f'{name} is missing'
        elif name not in own:
            problem = f'{name} is not known here'
        elif np.shape(arrays[name]) != own[name].shape:
            problem = f'{name} has shape {np.shape(arrays[name])} instead of {own[name].shape}'
        if problem:
            raise UserError(f'{whose} state does not fit: {problem}; was the config changed?')
