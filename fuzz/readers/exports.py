"""Files of engine.export that infer.py runs: ONNX, and OpenVINO's pair of files."""

import hashlib
import html
import json
from functools import partial
from pathlib import Path
from typing import Any

import nnabla as nn
import nnabla.functions as F
import numpy as np

from engine.backends.openvino import WEIGHTS_DIGEST
from engine.inference import exported_file
from engine.onnx import seal
from engine.onnx.builder import build_model
from fuzz.inputs import Content, Reader, one_file
from fuzz.mutators import exports

_FACTS: dict[str, Any] = {
    'network': 'ddrnet23_slim',
    'paper': 'Hong et al., 2021',
    'input': 'normalised',
    'input_name': 'image',
    'channel_order': 'rgb',
    'mean': [1.0, 2.0, 3.0],
    'std': [4.0, 5.0, 6.0],
    'size': [8, 16],
    'batch': 1,
    'size_divisor': 8,
    'smallest_size': 8,
    'output': 'maps',
    'num_classes': 2,
    'classes': ['road', 'car'],
    'palette': [[0, 0, 1], [0, 1, 0]],
    'config': {'network': 'ddrnet23_slim', 'num_classes': 2},
}


def _onnx(rng: np.random.Generator) -> list[Content]:
    contents = []
    for facts in (_FACTS, {**_FACTS, 'size': exported_file.ANY, 'batch': exported_file.ANY}):
        x = nn.Variable((1, 3, 8, 16))
        kernel = rng.normal(size=(2, 3, 1, 1)).astype('f4')
        weights = nn.Variable.from_numpy_array(kernel)
        with nn.parameter_scope('', scope={}):
            nn.parameter.set_parameter('conv/W', weights)
            model = build_model(
                {'maps': F.convolution(x, weights)},
                {'image': x},
                metadata={**facts, seal.KEY: seal.PLACEHOLDER},
            )
        data = seal.sealed(model.SerializeToString())
        contents.append(one_file('a.onnx', data, partial(_is, facts)))
    return contents


def _openvino(rng: np.random.Generator) -> list[Content]:
    weights = rng.bytes(300)
    digest = hashlib.sha256(weights).hexdigest()
    facts = {**_FACTS, WEIGHTS_DIGEST: digest, seal.KEY: seal.PLACEHOLDER}
    text = html.escape(json.dumps(facts))
    lines = (
        '<?xml version="1.0"?>', '<net name="a" version="11">', '<rt_info><nnseg>',
        f'<metadata value="{text}" />', '</nnseg></rt_info>', '</net>',
    )  # fmt: skip
    files = {'a.xml': seal.sealed('\n'.join(lines).encode()), 'a.bin': weights}
    return [
        Content(files, target, 'a.xml', partial(_is, _FACTS), keeps_name=True) for target in files
    ]


def _is(facts: dict[str, Any], value: list[Any]) -> bool:
    return all(value[0][key] == fact for key, fact in facts.items())


def _read(path: Path) -> list[Any]:
    file = exported_file.read(path)
    return [dict(file.facts), str(file.info), file.sha256]


READERS = (
    Reader('onnx', _onnx, _read, exports.OF_ONNX, True, share=2),
    Reader('openvino', _openvino, _read, exports.OF_OPENVINO, True, share=2),
)
