"""Damage to files of engine.export that keeps their checksum, so that the facts are read."""

import html
import json
import re
from collections.abc import Sequence

import numpy as np
import onnx

from engine.onnx import seal
from fuzz.mutators.mutator import Mutator, pick
from fuzz.mutators.texts import odd_json_value

_SEAL = re.compile(seal.MARK.encode() + rb'[0-9a-f]{64}')
_VALUE = re.compile(rb'(<metadata value=")([^"]*)(")')


def _resealed(data: bytes) -> bytes:
    return seal.sealed(_SEAL.sub(seal.PLACEHOLDER.encode(), data))


def _parsed(data: bytes) -> onnx.ModelProto:
    """Return the model of a file; an empty one of a file that other damage broke before."""
    try:
        return onnx.load_model_from_string(data)
    except Exception:  # of protobuf, which has no type information
        return onnx.ModelProto()


def odd_onnx_fact(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Change a value of an ONNX file's metadata."""
    model = _parsed(data)
    entries = [entry for entry in model.metadata_props if entry.key != seal.KEY]
    if not entries:
        return data
    entry = pick(rng, entries)
    entry.value = odd_json_value(rng, entry.value.encode(), others).decode('utf-8', 'replace')
    return _resealed(model.SerializeToString())


def odd_onnx_graph(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Give an ONNX file another operator, or weights that lie in another file."""
    model = _parsed(data)
    if rng.random() < 0.5 and model.graph.node:
        model.graph.node[0].op_type = pick(rng, ['Loop', 'If', 'Scan', 'Mine', ''])
    elif model.graph.initializer:
        tensor = model.graph.initializer[0]
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key='location', value='/etc/passwd')
    return _resealed(model.SerializeToString())


def odd_openvino_fact(rng: np.random.Generator, data: bytes, others: Sequence[bytes]) -> bytes:
    """Change a value of the metadata in an .xml file."""

    def changed(found: re.Match[bytes]) -> bytes:
        text = html.unescape(found[2].decode()).encode()
        odd = odd_json_value(rng, text, others).decode('utf-8', 'replace')
        return found[1] + html.escape(odd).encode() + found[3]

    try:
        return _resealed(_VALUE.sub(changed, data))
    except (UnicodeDecodeError, json.JSONDecodeError):
        return data


OF_ONNX = (
    Mutator(odd_onnx_fact, keeps_checksums=True),
    Mutator(odd_onnx_graph, keeps_checksums=True),
)
OF_OPENVINO = (Mutator(odd_openvino_fact, keeps_checksums=True),)
