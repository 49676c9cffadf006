from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

class DataIterator:
    size: int
    def next(self) -> tuple[NDArray[Any], ...]: ...
    def close(self) -> None: ...

def data_iterator_simple(
    load_func: Callable[[int], Sequence[Any]],
    num_examples: int,
    batch_size: int,
    shuffle: bool = False,
    rng: np.random.RandomState | None = None,
) -> DataIterator: ...
