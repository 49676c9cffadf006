from collections.abc import Sequence
from typing import Any

class NnbExporter:
    _memory_data: bytes | bytearray
    def __init__(self, nnp: Any, batch_size: int) -> None: ...
    def execute(
        self,
        nnb_output_filename: str,
        settings_template_filename: str | None,
        settings_filename: str | None,
        default_type: Sequence[str],
    ) -> None: ...
