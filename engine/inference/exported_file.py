"""Read files that engine.export wrote: the graph, and the facts that say how to use it.

``docs/export.md`` documents the facts. They are checked before anything relies on them, because
such a file may come from somebody else.
"""

import hashlib
import html
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import files
from common.class_maps import MAX_CLASSES
from common.errors import UserError
from common.reading import json_text
from common.tasks import CLASSES, MAX_INPUTS, MAX_TASKS, Task, is_name, kind_of
from common.terminal.library_output import hidden_c_output
from datasets.info import MAX_NAME_CHARACTERS
from engine.backends.openvino import WEIGHTS_DIGEST
from engine.inference.test_time import Size
from engine.onnx import seal
from engine.onnx.operators import OPERATORS
from engine.onnx.package import import_onnx
from models.family import NetworkInfo

ONNX, OPENVINO = '.onnx', '.xml'
WEIGHTS_ENDING = '.bin'  # of the file beside OpenVINO's
MAX_BYTES = 2 << 30  # of a file; protobuf reads no more
MAX_METADATA_BYTES = 1 << 24
MAX_SIDE = 1 << 20
ANY = 'any'  # a size or a number of images that is free
# As OpenVINO writes it; an XML parser would also follow what strangers declare in a file.
_OPENVINO_START = b'<?xml version="1.0"?>'  # in an encoding in which the patterns below hold
_OPENVINO_FACTS = re.compile(rb'<nnseg>\s*<metadata value="([^"]*)" ?/>')
# Graphs inside a layer, of loops, which can run for ever. Unlike the values of attributes, names of
# elements can be written in one way only.
_OPENVINO_LOOPS = re.compile(rb'<(?:\w+_)?body\b')
_TEXTS = ('network', 'paper', 'input', 'input_name', 'channel_order', 'output', 'precision')


@dataclass(frozen=True)
class ExportedFile:
    """A file of engine.export.

    Attributes:
        path: The file.
        content: Its content.
        weights: The content of the .bin file beside an .xml file.
        sha256: SHA-256 of the file, in hexadecimal digits.
        facts: Its checked metadata.
    """

    path: Path
    content: bytes
    weights: bytes | None
    sha256: str
    facts: Mapping[str, Any]

    @property
    def is_onnx(self) -> bool:
        """Whether this is an ONNX file, else one of OpenVINO's."""
        return self.path.suffix.lower() == ONNX

    @property
    def size(self) -> Size | None:
        """Height and width of the input; None if the file takes every size."""
        size = self.facts['size']
        return None if size == ANY else (size[0], size[1])

    @property
    def batch(self) -> int | None:
        """The number of images; None if it is free."""
        return None if self.facts['batch'] == ANY else self.facts['batch']

    @property
    def info(self) -> NetworkInfo:
        """Facts of the network."""
        facts = self.facts
        return NetworkInfo(
            num_classes=facts['num_classes'],
            mean=tuple(facts['mean']),
            std=tuple(facts['std']),
            channel_order=facts['channel_order'],
            size_divisor=facts['size_divisor'],
            smallest_size=facts['smallest_size'],
            paper=facts['paper'],
            inputs=facts['inputs'],
            tasks=self.tasks,
        )

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks, in the order of the file's outputs; () for segmentation alone."""
        return tuple(
            Task(
                task['name'],
                task['kind'],
                task['channels'],
                None if task['range'] is None else (task['range'][0], task['range'][1]),
            )
            for task in self.facts['tasks']
        )


def find(source: str | None) -> Path | None:
    """Return the exported file that ``-m`` or the key ``weights`` names; None for anything else.

    Raises:
        UserError: The name is that of an exported file, which is not there.
    """
    if not source or Path(source).suffix.lower() not in (ONNX, OPENVINO):
        return None
    path = files.expanded(source, 'write the path in full')
    kind = files.kind_of(path)
    if kind is None:
        raise UserError(
            f'{path}: no such file; python -m engine.export -o FILE{path.suffix} writes one'
        )
    return path if kind == 'file' else None


def read(path: Path) -> ExportedFile:
    """Read an .onnx or .xml file.

    Raises:
        UserError: The file is unreadable or damaged, or engine.export did not write it.
    """
    content = _bytes_of(path)
    whole = seal.is_whole(content)
    if whole is None:
        raise UserError(
            f'{path}: python -m engine.export did not write it, or an older version did, or it is '
            'cut off, so its classes and its input are unknown; copy it again, or write one with '
            f'python -m engine.export -o FILE{path.suffix}'
        )
    if not whole:
        raise UserError(f'{path}: is damaged, or another program has changed it; export it again')
    weights = None
    is_onnx = path.suffix.lower() == ONNX
    found = _onnx_facts(path, content) if is_onnx else _openvino_facts(path, content)
    facts = _checked(found, path)
    if not is_onnx:
        weights = _weights_of(path, found.get(WEIGHTS_DIGEST))
    return ExportedFile(path, content, weights, hashlib.sha256(content).hexdigest(), facts)


def _bytes_of(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f'{path}: has more than {MAX_BYTES >> 30} GiB; no such file is read')
        return path.read_bytes()
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror or error})') from error


def _onnx_facts(path: Path, content: bytes) -> dict[str, Any]:
    """Return the metadata of an ONNX file: texts, and JSON for all that is none."""
    model = import_onnx().ModelProto()
    try:
        with warnings.catch_warnings(), hidden_c_output:
            warnings.simplefilter('error')  # protobuf warns of a damaged file
            model.ParseFromString(content)
            entries = {entry.key: entry.value for entry in model.metadata_props}
    except Exception as error:  # of protobuf, whose errors share no other base class
        raise UserError(f'{path}: is damaged or no ONNX file; export it again') from error
    odd = {node.op_type for node in model.graph.node} - OPERATORS
    if odd or model.functions or any(tensor.external_data for tensor in model.graph.initializer):
        raise UserError(
            f'{path}: has operators or data that python -m engine.export does not write; export it '
            'again'
        )
    if sum(map(len, entries.values())) > MAX_METADATA_BYTES:
        raise _damaged(path, 'it is too long')
    return {
        key: value if key in _TEXTS else _value(path, key, value) for key, value in entries.items()
    }


def _value(path: Path, key: str, text: str) -> Any:
    """Return a value of the metadata; what is no JSON is a text."""
    try:
        return json_text.parse(text, f'{path}, {key}', object)
    except json_text.JsonError:
        return text


def _openvino_facts(path: Path, content: bytes) -> dict[str, Any]:
    found = _OPENVINO_FACTS.search(content)
    as_written = found is not None and content.startswith(_OPENVINO_START)
    if found is None or not as_written or _OPENVINO_LOOPS.search(content):
        raise UserError(f'{path}: is no file as python -m engine.export writes it; export it again')
    if len(found[1]) > MAX_METADATA_BYTES:
        raise _damaged(path, 'it is too long')
    text = html.unescape(found[1].decode('ascii', 'replace'))
    return json_text.parse(text, f'{path}, its metadata', dict)


def _weights_of(path: Path, digest: Any) -> bytes:
    """Return the content of the .bin file; it must be the one that was written with the .xml."""
    other = path.with_suffix(WEIGHTS_ENDING)
    if files.kind_of(other) != 'file':
        raise UserError(f'{path}: its weights are missing; put {other.name} beside it')
    weights = _bytes_of(other)
    if hashlib.sha256(weights).hexdigest() != digest:
        raise UserError(f'{path}: {other.name} is damaged or of another export; export both again')
    return weights


def _damaged(path: Path, problem: str) -> UserError:
    return UserError(f'{path}: its metadata is damaged ({problem}); export it again')


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME_CHARACTERS and value.isprintable()


def _is_length(value: Any) -> bool:
    return json_text.is_count(value, 1, MAX_SIDE)


def _is_list(of: Callable[[Any], bool], count: int | None = None) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        long_enough = count is None or (isinstance(value, list) and len(value) == count)
        return isinstance(value, list) and long_enough and all(map(of, value))

    return check


def _one_of(*values: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in values


def _is_colour_value(value: Any) -> bool:
    return json_text.is_count(value, 0, 255)


def _is_deviation(value: Any) -> bool:
    return json_text.is_number(value) and value > 0


_RULES: dict[str, Callable[[Any], bool]] = {
    'network': _is_text,
    'paper': lambda value: isinstance(value, str),
    'input': _one_of('normalised', 'float32', 'uint8'),
    'input_name': _is_text,
    'channel_order': _one_of('rgb', 'bgr'),
    'mean': _is_list(json_text.is_number, 3),
    'std': _is_list(_is_deviation, 3),
    'size': lambda value: value == ANY or _is_list(_is_length, 2)(value),
    'batch': lambda value: value == ANY or json_text.is_count(value, 1, 1 << 16),
    'size_divisor': _is_length,
    'smallest_size': _is_length,
    'output': _one_of('maps', 'logits', 'probabilities', 'labels'),
    'num_classes': lambda value: json_text.is_count(value, 1, MAX_CLASSES),
    'classes': _is_list(_is_text),
    'palette': _is_list(_is_list(_is_colour_value, 3)),
    'config': lambda value: isinstance(value, dict),
}
# Facts that older versions, or files of one picture and one task, do not have.
_DEFAULTS = {'precision': 'float32', 'inputs': 1, 'tasks': [], 'task_classes': {}}
_OPTIONAL_RULES: dict[str, Callable[[Any], bool]] = {
    'inputs': lambda value: json_text.is_count(value, 1, MAX_INPUTS),
    'tasks': lambda value: isinstance(value, list) and len(value) <= MAX_TASKS,
    'task_classes': lambda value: isinstance(value, dict) and len(value) <= MAX_TASKS,
}


def _is_task(task: Any) -> bool:
    """Return whether a value describes a task."""
    if not isinstance(task, dict) or not {'name', 'kind', 'channels', 'range'} <= task.keys():
        return False
    limits = task['range']
    return (
        is_name(task['name'])
        and task['kind'] == kind_of(task['name'])
        and json_text.is_count(task['channels'], 1, MAX_CLASSES if task['kind'] == CLASSES else 1)
        and (limits is None or _is_list(json_text.is_number, 2)(limits))
    )


def _is_table(classes: Any) -> bool:
    """Return whether a value has names and colours of classes."""
    return (
        isinstance(classes, dict)
        and _is_list(_is_text)(classes.get('classes'))
        and _is_list(_is_list(_is_colour_value, 3))(classes.get('palette'))
        and len(classes['classes']) == len(classes['palette']) <= MAX_CLASSES
    )


def _check_tasks(facts: Mapping[str, Any], path: Path) -> None:
    """Raise ``UserError`` for tasks that cannot be, or do not fit the classes."""
    tasks = facts['tasks']
    names = [task['name'] for task in tasks if _is_task(task)]
    if len(set(names)) != len(tasks):
        raise _damaged(path, 'tasks has a value that it cannot have')
    counts = {task['name']: task['channels'] for task in tasks if task['kind'] == CLASSES}
    first = next(iter(counts.values()), 1)
    if tasks and facts['num_classes'] != first:
        raise _damaged(path, 'num_classes is not that of the tasks')
    for name, table in facts['task_classes'].items():
        if not _is_table(table) or counts.get(name) != len(table['classes']):
            raise _damaged(path, 'task_classes has a value that it cannot have')


def _checked(found: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the facts that running a file needs; raise ``UserError`` if one is odd."""
    for key, is_valid in _RULES.items():
        if key not in found:
            raise _damaged(path, f'{key} is missing')
        if not is_valid(found[key]):
            raise _damaged(path, f'{key} has a value that it cannot have')
    if not len(found['classes']) == len(found['palette']) == found['num_classes']:
        raise _damaged(path, 'classes, palette and num_classes differ in number')
    facts = {**_DEFAULTS, **found}
    for key, is_valid in _OPTIONAL_RULES.items():
        if not is_valid(facts[key]):
            raise _damaged(path, f'{key} has a value that it cannot have')
    _check_tasks(facts, path)
    return facts
