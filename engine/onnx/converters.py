"""The converters from NNabla functions to ONNX operators, by function type."""

from collections.abc import Callable

CONVERTERS: dict[str, Callable] = {}


def converter(*kinds: str) -> Callable[[Callable], Callable]:
    """Return a decorator that registers a converter for NNabla's functions of these types."""

    def register(function: Callable) -> Callable:
        CONVERTERS.update(dict.fromkeys(kinds, function))
        return function

    return register
