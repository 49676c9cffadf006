"""Checkpoints as torch.save writes them, made without PyTorch: opcodes of pickle's protocol 2 by
hand, so that a test can also write what no PyTorch would.

Formats: Python's pickletools; PyTorch's torch/serialization.py.
"""

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
    """A name that a pickle refers to."""

    module: str
    name: str


@dataclass(frozen=True)
class Call:
    """The result of a call, by REDUCE or NEWOBJ, with a state where one is given."""

    function: object
    arguments: tuple = ()
    state: object = None
    new: bool = False


@dataclass(frozen=True)
class Persistent:
    """What a persistent id stands for."""

    id: object


def opcodes(value) -> bytes:
    """The opcodes that push a value."""
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
    """A whole pickle of protocol 2."""
    return b'\x80\x02' + opcodes(value) + b'.'


def encoded(array, element: str, order: str = '<') -> bytes:
    """Numbers as a storage holds them; bfloat16 cuts the lower half of a float32 off."""
    if element == 'bfloat16':
        bits = np.asarray(array, np.float32).view(np.uint32) >> 16
        return bits.astype(f'{order}u2').tobytes()
    return np.asarray(array).astype(np.dtype(element).newbyteorder(order)).tobytes()


class Checkpoint:
    """Storages, and tensors on them."""

    def __init__(self, order: str = '<'):
        self.order, self.storages = order, {}

    def storage(self, array, element: str = 'float32') -> Persistent:
        """Add the numbers of an array; returns the reference to them."""
        key = str(len(self.storages))
        self.storages[key] = encoded(np.ravel(array), element, self.order)
        kind = Global('torch', STORAGES[element])
        return Persistent(('storage', kind, key, 'cpu', int(np.size(array))))

    def tensor(self, array, element: str = 'float32') -> Call:
        """A tensor on a storage of its own."""
        shape = tuple(np.shape(array))
        strides = tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))
        return view(self.storage(array, element), 0, shape, strides)

    def state(self, arrays, prefix: str = '', element: str = 'float32') -> dict:
        """Tensors of arrays by name."""
        return {prefix + n: self.tensor(a, element) for n, a in arrays.items()}

    def save(self, path, tree, legacy: bool = False, **changes):
        """Write a file. changes: storages by key in place of the true ones."""
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
    """A tensor on a storage, which may be impossible."""
    hooks = Call(Global('collections', 'OrderedDict'))
    return Call(
        Global('torch._utils', '_rebuild_tensor_v2'),
        (storage, offset, shape, strides, False, hooks),
    )


def parameter(tensor: Call) -> Call:
    """A torch.nn.Parameter."""
    hooks = Call(Global('collections', 'OrderedDict'))
    return Call(Global('torch._utils', '_rebuild_parameter'), (tensor, True, hooks))


def _counts(value) -> dict[str, int]:
    """Elements of all storages that a tree refers to, by key."""
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
