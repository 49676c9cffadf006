from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

class BaseInitializer:
    def __call__(self, shape: Sequence[int]) -> NDArray[Any]: ...

class ConstantInitializer(BaseInitializer):
    def __init__(self, value: float = 0) -> None: ...

class NormalInitializer(BaseInitializer):
    def __init__(self, sigma: float = 1.0, rng: np.random.RandomState | None = None) -> None: ...

class UniformInitializer(BaseInitializer):
    def __init__(
        self, lim: tuple[float, float] = (-1, 1), rng: np.random.RandomState | None = None
    ) -> None: ...

def calc_uniform_lim_glorot(
    inmaps: int, outmaps: int, kernel: Sequence[int] = (1, 1)
) -> tuple[float, float]: ...
