"""Check arrays of a saved state against those that they will replace."""

from collections.abc import Mapping

import numpy as np

from common.errors import UserError

MAX_COUNT = 2**31 - 1  # of updates, which NNabla stores in 32 bits


def check_fit(own: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray], whose: str) -> None:
    """Check that saved arrays can replace the present ones.

    Args:
        own: The present arrays by name.
        arrays: The saved arrays by name.
        whose: Owner of the state for the message, such as ``the solver's``.

    Raises:
        UserError: Names, shapes or kinds of numbers differ, or a count is out of range.
    """
    problem = None
    for name in [*own, *arrays]:
        if name not in arrays:
            problem = f'{name} is missing'
        elif name not in own:
            problem = f'{name} is unknown here'
        elif np.shape(arrays[name]) != own[name].shape:
            problem = f'{name} has shape {np.shape(arrays[name])} instead of {own[name].shape}'
        elif arrays[name].dtype.kind != own[name].dtype.kind:
            problem = f'{name} has type {arrays[name].dtype} instead of {own[name].dtype}'
        elif own[name].dtype.kind == 'i' and not 0 <= int(arrays[name].min()) <= MAX_COUNT:
            problem = f'{name} is not from 0 to {MAX_COUNT}'
        if problem:
            raise UserError(f'{whose} state does not fit: {problem}; was the config changed?')
