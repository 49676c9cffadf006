"""Write exported files in the three formats.

All writers have the same arguments. A writer returns the content of a description to write beside
the file, or None.
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

METADATA = 'metadata.json'  # member of an NNP, which is a ZIP archive
NETWORK, EXECUTOR = 'network', 'runtime'  # names in an NNP


def write_onnx(path: Path, image, output, spec: ExportSpec, facts: dict):
    """Write ONNX, opset 13.

    Args:
        path: File to write.
        image: Input Variable of the graph.
        output: Output Variable of the graph.
        spec: Specification of input and output.
        facts: Facts to store as the model's metadata.
    """
    facts = facts | {'versions': facts['versions'] | {'onnx': import_onnx().__version__}}
    types = {}
    if spec.pixels == 'uint8':
        types[INPUT] = 'uint8'
    if spec.kind == 'labels':
        types[spec.kind] = 'uint8'
    model = build_model(
        {spec.kind: output},
        {INPUT: image},
        types=types,
        dynamic_batch=spec.batch is None,
        metadata=facts,
        name=facts['network'],
    )
    path.write_bytes(model.SerializeToString())


def write_nnp(path: Path, image, output, spec: ExportSpec, facts: dict):
    """Write NNabla's own format, a ZIP archive.

    Args:
        path: File to write.
        image: Input Variable of the graph.
        output: Output Variable of the graph.
        spec: Specification of input and output.
        facts: Facts to store as ``metadata.json`` in the archive.
    """
    content = io.BytesIO(_nnp(image, output, spec))
    with zipfile.ZipFile(content, 'a') as archive:
        archive.writestr(METADATA, json.dumps(facts, indent=1))
    path.write_bytes(content.getbuffer())


def write_nnb(path: Path, image, output, spec: ExportSpec, facts: dict) -> str:
    """Write the binary of NNabla's C runtime.

    Args:
        path: File to write.
        image: Input Variable of the graph.
        output: Output Variable of the graph.
        spec: Specification of input and output.
        facts: Facts about the file, which the format cannot hold.

    Returns:
        The facts as JSON.
    """
    import_converter()
    from nnabla.utils.converter.nnabla import NnpImporter
    from nnabla.utils.converter.nnablart import NnbExporter

    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        source = Path(folder) / 'network.nnp'
        source.write_bytes(_nnp(image, output, spec))
        # Our graphs have no repetitions; NNabla would recurse to the graph's depth to expand them.
        nnp = NnpImporter(str(source), expand_network=False).execute()
        assert spec.batch is not None, 'ExportSpec.check accepts a dynamic batch for ONNX only'
        converter = NnbExporter(nnp, spec.batch)
        converter._memory_data = bytearray()  # appending each array to bytes would copy them all
        converter.execute(str(path), None, None, ['FLOAT32'])
    return json.dumps(facts, indent=1)


def _nnp(image, output, spec: ExportSpec) -> bytes:
    """Return the archive of a graph of fixed size with the parameters that it needs.

    The archive is built in memory, because HDF5 crashes the process if the disk is full.
    """
    needed = {v.data for function in functions(output) for v in function.inputs if not v.parent}
    registered = nn.get_parameters(grad_only=False)
    network = {
        'name': NETWORK,
        'batch_size': spec.batch,
        'names': {INPUT: image},
        'outputs': {spec.kind: output},
    }
    executor = {
        'name': EXECUTOR,
        'network': NETWORK,
        'data': [INPUT],
        'output': [spec.kind],
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


def description_of(path: Path) -> Path:
    """Return the path of the description beside an exported file."""
    return path.with_name(path.name + '.json')


WRITERS = {'.onnx': write_onnx, '.nnp': write_nnp, '.nnb': write_nnb}
