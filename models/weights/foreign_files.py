"""Recognise files that hold no NNabla weights, and say how to come to weights from them."""

import json
import zipfile
from contextlib import suppress
from pathlib import Path

import h5py

from models import registry
from models.convert import checkpoints
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
STATE_MEMBERS = {'facts', 'names', 'parameters'}  # of engine.runs.checkpoints
PARAMETERS = '.protobuf'  # NNabla's other format of parameters
MAX_SEARCHED_BYTES = 1 << 30  # of an ONNX file, for the name of the weights


def explain(path: Path, network: str | None = None, num_classes: int | None = None) -> str | None:
    """Return why an existing file holds no NNabla weights, with the remedy; None if it may.

    Args:
        path: The file.
        network: Name of the network that the weights are for; None if it is unknown.
        num_classes: Its number of classes.

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
            f'{path} is {EXPORTED[path.suffix]}: an exported graph, which other programs run; pass '
            f'the .h5 that it was exported from{from_it}'
        )
    if not checkpoint:
        return None
    if network is not None and registry.family_of(network).original is None:
        return (
            f'{path} is a checkpoint of PyTorch, and {network} has none; choose the config of its '
            f'network with -cfg, and convert it: {conversion_command(path)}'
        )
    command = conversion_command(path, network, num_classes)
    return f'{path} is a checkpoint of PyTorch; convert it first: {command}'


def _is_training_state(path: Path) -> bool:
    """Return whether a file is the state of a run, which has members of these names."""
    with suppress(Exception), h5py.File(path, 'r') as file:  # a damaged file is no state
        return set(file) >= STATE_MEMBERS
    return False


def _exported_from(path: Path) -> str | None:
    """Return the name of the weights that engine.export exported; None for files of others."""
    with suppress(OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        if path.suffix == '.nnp':
            with zipfile.ZipFile(path) as archive:
                return str(json.loads(archive.read('metadata.json'))['weights'])
        if path.suffix == '.nnb':
            return str(json.loads(path.with_name(f'{path.name}.json').read_bytes())['weights'])
        if path.suffix == '.onnx':
            return _weights_of_onnx(path)
    return None


def _weights_of_onnx(path: Path) -> str | None:
    """Return the metadata ``weights`` of an ONNX file, if the package onnx is installed."""
    if path.stat().st_size > MAX_SEARCHED_BYTES:
        return None
    with suppress(ImportError):
        import onnx

        model = onnx.ModelProto()
        with suppress(Exception):  # whatever protobuf raises for another content
            model.ParseFromString(path.read_bytes())
        for entry in model.metadata_props:
            if entry.key == 'weights':
                return str(entry.value)
    return None
