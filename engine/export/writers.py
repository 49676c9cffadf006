"""The three kinds of files, each written from a graph's input and output.

A writer takes the path, the input and the output Variable, the form, and what the file is to say
about itself; it returns what has to stand in a file beside it, or None.
"""

import io
import json
import tempfile
import zipfile
from contextlib import redirect_stdout
from pathlib import Path

import nnabla as nn
from nnabla.utils.save import save

from engine.export.nnb_reader import import_converter
from engine.export.spec import INPUT, ExportSpec
from engine.onnx.builder import build_model, import_onnx
from layers.graph import functions

METADATA = 'metadata.json'  # in an NNP, which is a ZIP archive
NETWORK, EXECUTOR = 'network', 'runtime'  # their names in an NNP


def write_onnx(path: Path, image, output, form: ExportSpec, facts: dict):
    """ONNX, opset 13; the facts are the model's metadata."""
    facts = facts | {'versions': facts['versions'] | {'onnx': import_onnx().__version__}}
    types = {}
    if form.pixels == 'uint8':
        types[INPUT] = 'uint8'
    if form.kind == 'labels':
        types[form.kind] = 'uint8'
    model = build_model(
        {form.kind: output},
        {INPUT: image},
        types=types,
        dynamic_batch=form.batch is None,
        metadata=facts,
        name=facts['network'],
    )
    path.write_bytes(model.SerializeToString())


def write_nnp(path: Path, image, output, form: ExportSpec, facts: dict):
    """NNabla's own format; the facts are in ``metadata.json`` of the archive."""
    content = io.BytesIO(_nnp(image, output, form))
    with zipfile.ZipFile(content, 'a') as archive:
        archive.writestr(METADATA, json.dumps(facts, indent=1))
    path.write_bytes(content.getbuffer())


def write_nnb(path: Path, image, output, form: ExportSpec, facts: dict) -> str:
    """The binary of NNabla's C runtime, which has no room for facts: they are returned."""
    import_converter()
    from nnabla.utils.converter.nnabla import NnpImporter
    from nnabla.utils.converter.nnablart import NnbExporter

    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        source = Path(folder) / 'network.nnp'
        source.write_bytes(_nnp(image, output, form))
        # Repetitions are not in our graphs; to expand them NNabla recurses to the graph's depth.
        nnp = NnpImporter(str(source), expand_network=False).execute()
        assert form.batch is not None, 'ExportSpec.check lets only ONNX have any number'
        converter = NnbExporter(nnp, form.batch)
        converter._memory_data = bytearray()  # it grows by each array; bytes would be copied
        converter.execute(str(path), None, None, ['FLOAT32'])
    return json.dumps(facts, indent=1)


def _nnp(image, output, form: ExportSpec) -> bytes:
    """The archive with the parameters that the graph needs, of one fixed size.

    It is made in memory: HDF5 crashes the process when the disk is full.
    """
    needed = {v.data for function in functions(output) for v in function.inputs if not v.parent}
    registered = nn.get_parameters(grad_only=False)
    network = {
        'name': NETWORK,
        'batch_size': form.batch,
        'names': {INPUT: image},
        'outputs': {form.kind: output},
    }
    executor = {
        'name': EXECUTOR,
        'network': NETWORK,
        'data': [INPUT],
        'output': [form.kind],
    }
    content = io.BytesIO()
    save(
        content,
        {'networks': [network], 'executors': [executor]},
        variable_batch_size=False,
        extension='.nnp',
        parameters={name: v for name, v in registered.items() if v.data in needed},
    )
    return content.getvalue()


WRITERS = {'.onnx': write_onnx, '.nnp': write_nnp, '.nnb': write_nnb}
