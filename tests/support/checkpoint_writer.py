"""Write checkpoints in the formats of torch.save and safetensors, without PyTorch.

Pickles are written opcode by opcode, protocol 2, so that a test can also write invalid ones.

Formats: Python's pickletools; PyTorch's torch/serialization.py; safetensors' README.
"""

import json
import math
import pickle
import struct
import zipfile
from dataclasses import dataclass

import numpy as np

STORAGES = {
    'float32': 'FloatStorage',
    'float64': 'DoubleStorage',
    'float16': 'HalfStorage',
    'bfloat16': 'BFloat16Storage',
    'int64': 'LongStorage',
    'uint8': 'ByteStorage',
}
MAGIC = 0x1950A86A20F9469CFC6C


@dataclass(frozen=True)
class Global:
    """A reference to an importable name."""

    module: str
    name: str


@dataclass(frozen=True)
class Call:
    """The result of a function call.

    Attributes:
        function: A :class:`Global` or another callable value.
        arguments: Arguments of the call.
        state: State that the opcode BUILD sets afterwards; None omits BUILD.
        new: Whether the opcode is NEWOBJ instead of REDUCE.
    """

    function: object
    arguments: tuple = ()
    state: object = None
    new: bool = False


@dataclass(frozen=True)
class Persistent:
    """A reference to an object outside the pickle, by its persistent id."""

    id: object


def opcodes(value) -> bytes:
    """Return the opcodes that push a value on the stack."""
    match value:
        case Global(module, name):
            return f'c{module}\n{name}\n'.encode()
        case Call(function, arguments, state, new):
            made = opcodes(function) + opcodes(arguments) + (b'\x81' if new else b'R')
            return made + (opcodes(state) + b'b' if state is not None else b'')
        case Persistent(number):
            return opcodes(number) + b'Q'
        case tuple():
            return b'(' + b''.join(map(opcodes, value)) + b't'
        case list():
            return b'](' + b''.join(map(opcodes, value)) + b'e'
        case dict():
            items = (part for item in value.items() for part in item)
            return b'}(' + b''.join(map(opcodes, items)) + b'u'
        case str():
            text = value.encode()
            return b'X' + struct.pack('<I', len(text)) + text
    return pickle.dumps(value, 2)[2:-1]


def pickled(value) -> bytes:
    """Return a whole pickle of protocol 2."""
    return b'\x80\x02' + opcodes(value) + b'.'


def encoded(array, element: str, order: str = '<') -> bytes:
    """Encode numbers as the bytes of a storage; bfloat16 is the upper half of a float32."""
    if element == 'bfloat16':
        bits = np.asarray(array, np.float32).view(np.uint32) >> 16
        return bits.astype(f'{order}u2').tobytes()
    return np.asarray(array).astype(np.dtype(element).newbyteorder(order)).tobytes()


class Checkpoint:
    """A checkpoint under construction: storages, and tensors that refer to them."""

    def __init__(self, order: str = '<'):
        self.order, self.storages = order, {}

    def storage(self, array, element: str = 'float32') -> Persistent:
        """Add a storage with the numbers of an array and return the reference to it."""
        key = str(len(self.storages))
        self.storages[key] = encoded(np.ravel(array), element, self.order)
        kind = Global('torch', STORAGES[element])
        return Persistent(('storage', kind, key, 'cpu', int(np.size(array))))

    def tensor(self, array, element: str = 'float32') -> Call:
        """Return a tensor with a storage of its own."""
        shape = tuple(np.shape(array))
        strides = tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))
        return view(self.storage(array, element), 0, shape, strides)

    def state(self, arrays, prefix: str = '', element: str = 'float32') -> dict:
        """Return a state_dict with a tensor for each array, named ``prefix`` + its name."""
        return {prefix + n: self.tensor(a, element) for n, a in arrays.items()}

    def save(self, path, tree, legacy: bool = False, **changes):
        """Write a checkpoint file.

        Args:
            path: The file to write.
            tree: The saved object.
            legacy: Whether to use the format of PyTorch before 1.6.
            **changes: Bytes that replace storages, by the keys of the storages.

        Returns:
            ``path``.
        """
        storages = self.storages | changes
        if legacy:
            machine = dict(protocol_version=1001, little_endian=True, type_sizes=dict(int=4))
            heads = [pickled(v) for v in (MAGIC, 1001, machine, tree, list(storages))]
            counts = _counts(tree)
            bodies = [struct.pack('<q', counts[key]) + data for key, data in storages.items()]
            path.write_bytes(b''.join(heads + bodies))
            return path
        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('archive/data.pkl', pickled(tree))
            archive.writestr('archive/byteorder', {'<': 'little', '>': 'big'}[self.order])
            for key, data in storages.items():
                archive.writestr(f'archive/data/{key}', data)
            archive.writestr('archive/version', '3\n')
        return path


def view(storage: Persistent, offset, shape, strides) -> Call:
    """Return a tensor as a view of a storage; the view can be invalid.

    Args:
        storage: A reference from :meth:`Checkpoint.storage`.
        offset: Index of the first element in the storage.
        shape: Shape of the tensor.
        strides: Strides in elements.
    """
    hooks = Call(Global('collections', 'OrderedDict'))
    return Call(
        Global('torch._utils', '_rebuild_tensor_v2'),
        (storage, offset, shape, strides, False, hooks),
    )


def parameter(tensor: Call) -> Call:
    """Return a torch.nn.Parameter."""
    hooks = Call(Global('collections', 'OrderedDict'))
    return Call(Global('torch._utils', '_rebuild_parameter'), (tensor, True, hooks))


def write_safetensors(path, header, data):
    """Write a safetensors file.

    Args:
        path: The file to write.
        header: Entries of :func:`safetensors_entry` by name, or bytes in place of the JSON.
        data: Bytes of the arrays.

    Returns:
        ``path``.
    """
    text = json.dumps(header).encode() if isinstance(header, dict) else header
    path.write_bytes(struct.pack('<Q', len(text)) + text + data)
    return path


def safetensors_entry(dtype, shape, begin, end):
    """Return the entry of an array in the header of a safetensors file.

    Args:
        dtype: Name of the type, such as ``F32``.
        shape: Shape of the array.
        begin: Offset of the first byte in the data.
        end: Offset behind the last byte in the data.
    """
    return dict(dtype=dtype, shape=shape, data_offsets=[begin, end])


def write_archive(path, records, compression=zipfile.ZIP_STORED):
    """Write a zip archive of these records below ``archive/``, as torch.save does."""
    with zipfile.ZipFile(path, 'w', compression) as file:
        for name, content in records.items():
            file.writestr(f'archive/{name}', content)
    return path


def _counts(value) -> dict[str, int]:
    """Return the number of elements of every storage in a tree, by the storage's key."""
    match value:
        case Persistent((_, _, key, _, count, *_)):
            return {key: count}
        case Call(function, arguments, state):
            parts = [function, *arguments, state]
        case dict():
            parts = value.values()
        case list() | tuple():
            parts = value
        case _:
            parts = ()
    return {key: n for part in parts for key, n in _counts(part).items()}
