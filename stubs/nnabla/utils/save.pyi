from collections.abc import Mapping
from io import BytesIO
from typing import Any

from nnabla import Variable

def save(
    filename: str | BytesIO,
    contents: Mapping[str, Any],
    include_params: bool = False,
    variable_batch_size: bool = True,
    extension: str = '.nnp',
    parameters: Mapping[str, Variable] | None = None,
) -> None: ...
