"""Format the cost of a network as a text table and as a JSON document."""

from dataclasses import asdict
from typing import Any

from common.terminal.tables import Column, lines
from models.complexity.counts import Complexity, Stage

COLUMNS = (
    Column(),
    Column('GMACs', 9, right=True, before=' '),
    Column('parameters', 12, right=True, before=' '),
    Column('activations', right=True),
    Column('receptive field'),
)


def as_text(measured: Complexity) -> str:
    """Return a table with one row for each stage of the network and one for the total."""
    height, width = measured.size
    text = [f'{measured.name}, {height}x{width}', '']
    text += lines(COLUMNS, [_row(stage) for stage in (*measured.stages, measured)])
    text += ['', f'peak activation memory: {_mebibytes(measured.peak_bytes)} MiB']
    if any(stage.sees_all for stage in measured.stages):
        text.append('+: the stage also sees the whole image, through global pooling')
    return '\n'.join(text)


def _row(stage: Stage) -> list[str]:
    parameters = f'{stage.parameters:,}'
    if not stage.runs:
        return [stage.name, '-', parameters, 'does not run at inference']
    memory = f'{_mebibytes(stage.activation_bytes)} MiB'
    return [stage.name, f'{stage.gmacs:.3f}', parameters, memory, _field(stage)]


def as_json(measured: Complexity) -> dict[str, Any]:
    """Return all fields by name, with the stages as a list; sizes are [height, width]."""
    values = {**asdict(measured), 'gmacs': measured.gmacs}
    for own, stage in zip(values['stages'], measured.stages):
        own['gmacs'] = stage.gmacs
    return values


def _field(stage: Stage) -> str:
    height, width = stage.receptive_field
    return f'{height}x{width}{"+" if stage.sees_all else ""}'


def _mebibytes(count: int) -> str:
    return f'{count / 2**20:.0f}'
