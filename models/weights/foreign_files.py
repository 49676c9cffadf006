"""Recognise files that hold no NNabla weights, and say how to come to weights from them."""

import warnings
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from common.reading import json_text
from common.terminal.library_output import hidden_c_output
from models import registry
from models.convert import checkpoints
from models.structure import SINGLE, Structure
from models.weights.published import conversion_command, entry_of

EXPORTED = {  # suffixes of compiled graphs
    '.onnx': 'an ONNX file',
    '.nnp': 'an NNP file',
    '.nnb': 'an NNB file',
    '.xml': "one of OpenVINO's files",
    '.bin': "one of OpenVINO's files",
    '.engine': 'a TensorRT engine',
    '.plan': 'a TensorRT engine',
    '.trt': 'a TensorRT engine',
    '.tflite': 'a TensorFlow Lite file',
    '.pb': 'a TensorFlow graph',
    '.compiled': 'a file of the backends cache',
}
STATE_MAGIC = b'nnseg training state'  # the first bytes of the states of engine.runs.checkpoints
PARAMETERS = '.protobuf'  # NNabla's other format of parameters
MAX_SEARCHED_BYTES = 1 << 30  # of an ONNX file, for the name of the weights
MAX_METADATA_BYTES = 1 << 24  # of the JSON file of an export
MAX_NAME_LENGTH = 4096  # of a file of weights


def explain(
    path: Path,
    network: str | None = None,
    num_classes: int | None = None,
    structure: Structure = SINGLE,
) -> str | None:
    """Return why an existing file holds no NNabla weights, with the remedy; None if it may.

    Args:
        path: The file.
        network: Name of the network that the weights are for; None if it is unknown.
        num_classes: Its number of classes.
        structure: Its inputs and tasks.

    Raises:
        OSError: The file cannot be read.
    """
    published = entry_of(path)
    if published is not None and published.obstacle:
        return f'{path} cannot be used: {published.obstacle}'
    if path.suffix == PARAMETERS:
        target = str(path.with_suffix('.h5'))
        return (
            f'{path} is a protobuf file of NNabla; write it as .h5 first: python -c "import nnabla '
            f'as nn; nn.load_parameters({str(path)!r}); nn.save_parameters({target!r})"'
        )
    if _is_training_state(path):
        return (
            f'{path} is the state of a training, for --resume of train.py: pass its weights, '
            f'{path.with_name("best.h5")} or {path.with_name("final.h5")}'
        )
    checkpoint = checkpoints.is_checkpoint(path)
    if path.suffix in EXPORTED and not (checkpoint and path.suffix == '.bin'):
        source = _exported_from(path)
        from_it = f', {source}' if source else ''
        return (
            f'{path} is {EXPORTED[path.suffix]}: an exported graph, not weights; pass '
            f'the .h5 that it was exported from{from_it}'
        )
    if not checkpoint:
        return None
    if network is not None and registry.family_of(network).original is None:
        return (
            f'{path} is a checkpoint of PyTorch, and {network} has none; choose the config of its '
            f'network with -cfg, and convert it: {conversion_command(path)}'
        )
    command = conversion_command(path, network, num_classes, structure)
    return f'{path} is a checkpoint of PyTorch; convert it first: {command}'


def _is_training_state(path: Path) -> bool:
    """Return whether a file is the state of a run."""
    with open(path, 'rb') as stream:
        return stream.read(len(STATE_MAGIC)) == STATE_MAGIC


def _exported_from(path: Path) -> str | None:
    """Return the name of the weights that engine.export exported; None for files of others."""
    readers: dict[str, Callable[[Path], dict[str, Any]]]
    readers = {'.nnp': _metadata_of_nnp, '.nnb': _metadata_of_nnb, '.onnx': _metadata_of_onnx}
    # Whatever zip, JSON and protobuf raise, and what protobuf prints, for files of others.
    with suppress(Exception), hidden_c_output:
        weights = readers[path.suffix](path)['weights']
        if isinstance(weights, str) and len(weights) <= MAX_NAME_LENGTH and weights.isprintable():
            return weights
    return None


def _metadata_of_nnp(path: Path) -> dict[str, Any]:
    """Return the metadata in an NNP file, which is a zip archive."""
    with zipfile.ZipFile(path) as archive, archive.open('metadata.json') as stream:
        content = stream.read(MAX_METADATA_BYTES + 1)  # what the archive declares is not trusted
    return json_text.parse(content, path, dict) if len(content) <= MAX_METADATA_BYTES else {}


def _metadata_of_nnb(path: Path) -> dict[str, Any]:
    """Return the metadata beside an NNB file."""
    return json_text.read(path.with_name(f'{path.name}.json'), dict, MAX_METADATA_BYTES)


def _metadata_of_onnx(path: Path) -> dict[str, str]:
    """Return the metadata in an ONNX file, if the package onnx is installed."""
    import onnx

    if path.stat().st_size > MAX_SEARCHED_BYTES:
        return {}
    model = onnx.ModelProto()
    with warnings.catch_warnings():
        warnings.simplefilter('error')  # protobuf warns of a damaged file
        model.ParseFromString(path.read_bytes())
    return {entry.key: entry.value for entry in model.metadata_props}
