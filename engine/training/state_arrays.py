"""Check arrays of a saved state against those that they will replace."""

from collections.abc import Mapping

import numpy as np

from common.errors import UserError


def check_fit(own: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray], whose: str) -> None:
    """Check that saved arrays can replace the present ones.

    Args:
        own: The present arrays by name.
        arrays: The saved arrays by name.
        whose: Owner of the state for the message, such as ``the solver's``.

    Raises:
        UserError: Names or shapes differ.
    """
    problem = None
    for name in [*own, *arrays]:
        if name not in arrays:
            problem = f'{name} is missing'
        elif name not in own:
            problem = f'{name} is unknown here'
        elif np.shape(arrays[name]) != own[name].shape:
            problem = f'{name} has shape {np.shape(arrays[name])} instead of {own[name].shape}'
        if problem:
            raise UserError(f'{whose} state does not fit: {problem}; was the config changed?')
