"""Type stubs for the part of NNabla's interface that the project uses."""

from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager
from typing import Any

from nnabla import parameter as parameter
from nnabla import random as random
from nnabla._nd_array import NdArray as NdArray
from nnabla._variable import Context as Context
from nnabla._variable import Variable as Variable

__version__: str

def clear_parameters() -> None: ...
def context_scope(ctx: Context) -> AbstractContextManager[None]: ...
def get_current_context() -> Context: ...
def get_parameters(
    params: Mapping[str, Any] | None = None, path: str = '', grad_only: bool = True
) -> dict[str, Variable]: ...
def parameter_scope(
    name: str, scope: MutableMapping[str, Any] | None = None
) -> AbstractContextManager[None]: ...
def recompute(recompute: bool = True) -> AbstractContextManager[None]: ...
def save_parameters(
    path: object, params: Mapping[str, Variable] | None = None, extension: str | None = None
) -> None: ...
def set_default_context(ctx: Context) -> None: ...
