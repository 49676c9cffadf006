from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

from nnabla._variable import Variable
from numpy.typing import NDArray

def get_current_parameter_scope() -> MutableMapping[str, Any]: ...
def get_parameter(key: str) -> Variable | None: ...
def get_parameter_or_create(
    name: str,
    shape: Sequence[int] | None = None,
    initializer: Callable[[tuple[int, ...]], NDArray[Any]] | NDArray[Any] | None = None,
    need_grad: bool = True,
    as_need_grad: bool | None = None,
) -> Variable: ...
def pop_parameter(key: str) -> Variable | None: ...
def set_parameter(key: str, param: Variable) -> None: ...
