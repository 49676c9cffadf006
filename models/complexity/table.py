"""Format the complexity of a network as a table for people and as a document for programs."""

from dataclasses import asdict
from typing import Any

from models.complexity.counts import Complexity, Stage


def as_text(measured: Complexity) -> str:
    """Format a network as a table with a row for each of its stages and one for their total."""
    height, width = measured.size
    name_width = max(len(stage.name) for stage in (measured, *measured.stages))
    lines = [
        f'{measured.name}, {height}x{width}',
        '',
        f'{"":{name_width}}    GMACs   parameters  activations  receptive field',
    ]
    for stage in (*measured.stages, measured):
        memory = f'{_mebibytes(stage.activation_bytes):>8} MiB'
        numbers = f'{stage.gmacs:9.3f} {stage.parameters:12,} {memory}  {_field(stage)}'
        if not stage.runs:
            numbers = f'{"-":>9} {stage.parameters:12,}  does not run at inference'
        lines.append(f'{stage.name:{name_width}} {numbers}')
    lines += ['', f'activations at once: {_mebibytes(measured.peak_bytes)} MiB']
    if any(stage.sees_all for stage in measured.stages):
        lines.append('+: and the whole image, through global poolings')
    return '\n'.join(lines)


def as_json(measured: Complexity) -> dict[str, Any]:
    """Return all fields by name, those of the stages in a list; sizes are [height, width]."""
    values = {**asdict(measured), 'gmacs': measured.gmacs}
    for own, stage in zip(values['stages'], measured.stages):
        own['gmacs'] = stage.gmacs
    return values


def _field(stage: Stage) -> str:
    height, width = stage.receptive_field
    return f'{height}x{width}{"+" if stage.sees_all else ""}'


def _mebibytes(count: int) -> str:
    return f'{count / 2**20:.0f}'
