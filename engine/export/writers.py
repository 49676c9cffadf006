"""Write exported files in their formats.

All writers have the same arguments. A writer returns the content of a second file to write beside
the first, or None.
"""

import io
import json
import tempfile
import zipfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import nnabla as nn
import numpy as np
from nnabla.utils.save import save

from common import machine
from common.errors import UserError
from engine.backends.openvino import INSTALL, OpenVINO
from engine.export.nnb_reader import import_converter
from engine.export.spec import INPUT, OPENVINO_ENDING, ExportGraph, ExportSpec
from engine.inference.exported_file import WEIGHTS_ENDING
from engine.onnx import seal
from engine.onnx.builder import build_model
from engine.onnx.package import import_onnx
from layers.graph import functions

METADATA = 'metadata.json'  # member of an NNP, which is a ZIP archive
NETWORK, EXECUTOR = 'network', 'runtime'  # names in an NNP
Inputs = Sequence[np.ndarray] | None


def write_onnx(path: Path, graph: ExportGraph, spec: ExportSpec, facts: dict, inputs: Inputs):
    """Write ONNX, opset 13.

    Args:
        path: File to write.
        graph: Graph to export.
        spec: Specification of input and output.
        facts: Facts to store as the model's metadata.
        inputs: Inputs for the calibration of 8 bits; unused.
    """
    facts = facts | {'versions': facts['versions'] | {'onnx': import_onnx().__version__}}
    facts = facts | {seal.KEY: seal.PLACEHOLDER}
    path.write_bytes(seal.sealed(_onnx(graph, spec, facts['network'], facts)))


def write_openvino(
    path: Path, graph: ExportGraph, spec: ExportSpec, facts: dict, inputs: Inputs
) -> bytes:
    """Write the description of OpenVINO's representation, an .xml file.

    Args:
        path: File to write.
        graph: Graph to export.
        spec: Specification of input and output.
        facts: Facts to store as JSON in the model's runtime information.
        inputs: Inputs on which int8 is calibrated.

    Returns:
        The content of the .bin file with the weights.

    Raises:
        UserError: OpenVINO, or for int8 NNCF, is not installed.
    """
    try:
        runtime = OpenVINO(spec.precision, machine.threads())
    except ImportError as error:
        raise UserError(
            f'{OPENVINO_ENDING}: the package {error.name} is missing: {INSTALL}'
        ) from error
    versions = {**facts['versions'], **runtime.versions}
    facts = facts | {'versions': versions, seal.KEY: seal.PLACEHOLDER}
    content, weights = runtime.convert(_onnx(graph, spec, facts['network']), inputs, facts)
    path.write_bytes(seal.sealed(content))
    return weights


def _onnx(graph: ExportGraph, spec: ExportSpec, name: str, facts: dict | None = None) -> bytes:
    """Return the content of an ONNX file of a network with a name."""
    types = {INPUT: 'uint8'} if spec.pixels == 'uint8' else {}
    if spec.kind == 'labels':  # classes have no axis of channels, unlike depth
        types |= {key: 'uint8' for key, output in graph.outputs.items() if output.ndim == 3}
    model = build_model(
        graph.outputs,
        {INPUT: graph.image},
        types=types,
        dynamic_batch=spec.batch is None,
        metadata=facts,
        name=name,
        at_other_sizes=[{INPUT: image, **outputs} for image, outputs in graph.others],
    )
    return model.SerializeToString()


def write_nnp(path: Path, graph: ExportGraph, spec: ExportSpec, facts: dict, inputs: Inputs):
    """Write NNabla's own format, a ZIP archive.

    Args:
        path: File to write.
        graph: Graph to export.
        spec: Specification of input and output.
        facts: Facts to store as ``metadata.json`` in the archive.
        inputs: Inputs for the calibration of 8 bits; unused.
    """
    content = io.BytesIO(_nnp(graph, spec))
    with zipfile.ZipFile(content, 'a') as archive:
        archive.writestr(METADATA, json.dumps(facts, indent=1))
    path.write_bytes(content.getbuffer())


def write_nnb(
    path: Path, graph: ExportGraph, spec: ExportSpec, facts: dict, inputs: Inputs
) -> bytes:
    """Write the binary of NNabla's C runtime.

    Args:
        path: File to write.
        graph: Graph to export.
        spec: Specification of input and output.
        facts: Facts about the file, which the format cannot hold.
        inputs: Inputs for the calibration of 8 bits; unused.

    Returns:
        The facts as JSON.
    """
    import_converter()
    from nnabla.utils.converter.nnabla import NnpImporter
    from nnabla.utils.converter.nnablart import NnbExporter

    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        source = Path(folder) / 'network.nnp'
        source.write_bytes(_nnp(graph, spec))
        # Our graphs have no repetitions; NNabla would recurse to the graph's depth to expand them.
        nnp = NnpImporter(str(source), expand_network=False).execute()
        assert spec.batch is not None, 'ExportSpec.check accepts a dynamic batch for ONNX only'
        converter = NnbExporter(nnp, spec.batch)
        converter._memory_data = bytearray()  # appending each array to bytes would copy them all
        converter.execute(str(path), None, None, ['FLOAT32'])
    return json.dumps(facts, indent=1).encode()


def _nnp(graph: ExportGraph, spec: ExportSpec) -> bytes:
    """Return the archive of a graph of fixed size with the parameters that it needs.

    The archive is built in memory, because HDF5 crashes the process if the disk is full.
    """
    ((name, output),) = graph.outputs.items()
    needed = {v.data for function in functions(output) for v in function.inputs if not v.parent}
    registered = nn.get_parameters(grad_only=False)
    network = {
        'name': NETWORK,
        'batch_size': spec.batch,
        'names': {INPUT: graph.image},
        'outputs': {name: output},
    }
    executor = {
        'name': EXECUTOR,
        'network': NETWORK,
        'data': [INPUT],
        'output': [name],
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


def beside(path: Path) -> Path | None:
    """Return the path of the second file of an export; None for formats with one file."""
    if path.suffix.lower() == '.nnb':
        return path.with_name(path.name + '.json')
    return path.with_suffix(WEIGHTS_ENDING) if path.suffix.lower() == OPENVINO_ENDING else None


WRITERS = {
    '.onnx': write_onnx,
    OPENVINO_ENDING: write_openvino,
    '.nnp': write_nnp,
    '.nnb': write_nnb,
}
