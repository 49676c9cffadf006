"""An NNB file is read back and run by NNabla; a truncated one is refused."""

import json
import random
import struct

import nnabla as nn
import pytest

from common.errors import UserError
from engine.export import nnb_reader
from engine.export.exporter import export
from engine.export.spec import ExportSpec
from support.exported import tiny


def test_an_nnb_file_is_read_back_and_run(tmp_path):
    """NNabla runs its functions with the stored arguments, shapes and parameters."""
    network, path = tiny(), tmp_path / 'a.nnb'
    report = export(network, (45, 70), path, ExportSpec(pixels='float32'))
    assert report.startswith("the file's content, run by NNabla")
    assert 'agrees' in report
    assert json.loads((tmp_path / 'a.nnb.json').read_text())['input'] == 'float32'
    contents = nnb_reader.read_nnb(path)
    assert [contents.shapes[n] for n in contents.inputs] == [(1, 3, 45, 70)]
    assert [contents.shapes[n] for n in contents.outputs] == [(1, 5, 45, 70)]
    own = nn.get_parameters(grad_only=False)
    stored = {a.tobytes() for a in contents.parameters.values()}
    assert stored == {v.d.tobytes() for v in own.values()}
    kinds = [call.kind for call in contents.calls]
    assert kinds.count('convolution') == sum(name.endswith('conv/W') for name in own)
    content = path.read_bytes()
    path.write_bytes(content[:-4])
    with pytest.raises(UserError, match='a.nnb is damaged or not an NNB file .*bytes instead of'):
        nnb_reader.read_nnb(path)
    refuse_or_read_changes(content, path)


def refuse_or_read_changes(content, path):
    """Read a file with changed counts and places: a result, or one line that names the file."""
    rng, refused = random.Random(0), 0
    for _ in range(40):
        changed = bytearray(content)
        at = 4 * rng.randrange(rng.choice((15, len(content) // 4 - 1)))
        changed[at : at + 4] = struct.pack('<I', rng.choice((0, 1, 2**31 - 1, 2**32 - 1, at)))
        path.write_bytes(changed)
        try:
            nnb_reader.read_nnb(path)
        except UserError as error:
            refused += str(error).startswith(f'{path} is damaged or not an NNB file')
    assert refused > 8
