"""Pickles of PyTorch checkpoints, read without PyTorch and without running what is in them.

A pickle is a program that may call anything importable. Here nothing is imported: a name becomes
one of the few functions below that rebuild tensors, a plain container, or an inert object that
takes everything and does nothing; other names are refused. Sizes, strides and offsets are checked
against the storage before a tensor is made of them.

Formats: Python's pickletools; PyTorch's torch/serialization.py, torch/_utils.py (``_rebuild_*``).
"""

import io
import pickle
import pickletools
import sys
from collections.abc import Callable
from dataclasses import dataclass

from models.convert.tensors import TYPES, Storage, Tensor, is_count, view
from models.errors import ModelError

STORAGES = {
    'FloatStorage': 'float32',
    'DoubleStorage': 'float64',
    'HalfStorage': 'float16',
    'BFloat16Storage': 'bfloat16',
    'CharStorage': 'int8',
    'ShortStorage': 'int16',
    'IntStorage': 'int32',
    'LongStorage': 'int64',
    'ByteStorage': 'uint8',
    'BoolStorage': 'bool',
    'UntypedStorage': None,  # bytes; the tensor says of which type
}
# Names of the standard library, numpy and PyTorch that checkpoints have beside their tensors.
HARMLESS = {
    'argparse.Namespace',
    'types.SimpleNamespace',
    'collections.Counter',
    'collections.deque',
    'datetime.date',
    'datetime.datetime',
    'datetime.timedelta',
    'pathlib.Path',
    'pathlib.PosixPath',
    'pathlib.PurePosixPath',
    'pathlib.WindowsPath',
    'builtins.bool',
    'builtins.dict',
    'builtins.float',
    'builtins.int',
    'builtins.list',
    'builtins.object',
    'builtins.str',
    '_codecs.encode',  # of the bytes of a numpy scalar
    'numpy.dtype',
    'numpy.ndarray',
    'numpy.core.multiarray._reconstruct',
    'numpy.core.multiarray.scalar',
    'numpy._core.multiarray._reconstruct',
    'numpy._core.multiarray.scalar',
    'numpy.core.numeric._frombuffer',
    'numpy._core.numeric._frombuffer',
    'torch.device',
    'torch.Tensor',
    'torch.nn.parameter.Parameter',
    'torch._C._TensorBase',
}
CLOSED = sys.stdlib_module_names | {'numpy', 'torch', '__builtin__'}  # nothing else from these
RENAMED = {'__builtin__': 'builtins', 'copy_reg': 'copyreg'}  # in pickles of Python 2
FORBIDDEN = {'EXT1', 'EXT2', 'EXT4', 'NEXT_BUFFER', 'READONLY_BUFFER'}


def load(stream: bytes, storage_of: Callable[..., Storage]) -> object:
    """The object that a pickle holds: plain values, :class:`Tensor`, and inert objects.

    storage_of: ``storage_of(element, key, count, view)`` returns the storage that a persistent id
    names. Raises ``ModelError`` for what is not allowed, and what
    :data:`models.convert.tensors.DAMAGE` lists.
    """
    length(stream)
    unpickler = _Unpickler(io.BytesIO(stream), encoding='latin1')
    unpickler.storage_of = storage_of
    return unpickler.load()


def length(stream) -> int:
    """Bytes of the pickle that ``stream``, from its position, begins with; checks the memo, whose
    places a pickle could number so that they fill the memory.
    """
    start = end = 0 if isinstance(stream, bytes) else stream.tell()
    for opcode, argument, position in pickletools.genops(stream):
        if opcode.name in FORBIDDEN:
            raise ModelError(f'the pickle has the opcode {opcode.name}')
        if opcode.name in ('PUT', 'BINPUT', 'LONG_BINPUT') and argument > position - start:
            raise ModelError('the pickle numbers its memo out of range')
        end = position + 1
    return end - start


class _Unpickler(pickle.Unpickler):
    """A pickle.Unpickler to which only a few names mean anything."""

    storage_of: Callable[..., Storage]

    def find_class(self, module, name):
        module = RENAMED.get(module, module)
        full = f'{module}.{name}'
        if full in CALLS:
            return _Call(CALLS[full])
        if full in ('collections.OrderedDict', 'collections.defaultdict'):
            return _Dictionary
        if module in ('torch', 'torch.storage', 'torch.cuda') and name in STORAGES:
            return _Element(STORAGES[name])
        if module == 'torch' and name in TYPES:
            return _Element(name)
        if full in HARMLESS or module.partition('.')[0] not in CLOSED:
            return type(name, (_Inert,), {'__slots__': ()})
        advice = ''
        if module.startswith(('torch.nn', 'torch.optim')):
            advice = ': save the state_dict() of the network, not the network'
        raise ModelError(f'it needs {full}, which is not one of the names that are allowed{advice}')

    def persistent_load(self, pid):
        kind, element, key, _, count, *view = pid if isinstance(pid, tuple) else (None,) * 5
        sound = kind == 'storage' and isinstance(element, _Element) and isinstance(key, str)
        if not sound or not is_count(count) or len(view) > 1:
            raise ModelError('it refers to something that is not a storage')
        return self.storage_of(element.name, key, count, view[0] if view else None)


class _Inert:
    """In place of an object of a class that is not needed: takes all, does nothing, keeps
    nothing.
    """

    __slots__ = ()

    def __new__(cls, *_, **__):
        return object.__new__(cls)

    def __init__(self, *_, **__):
        pass

    def __setstate__(self, state):
        pass

    def __setitem__(self, key, value):
        pass

    def append(self, value):
        pass

    extend = add = append


class _Dictionary(dict):
    """In place of an OrderedDict, without the attributes that a pickle may set."""

    __slots__ = ()

    def __init__(self, items=()):
        super().__init__(items if isinstance(items, list | dict) else ())

    def __setstate__(self, state):
        pass


@dataclass(frozen=True, eq=False)
class _Element:
    """A type of elements, or of storages by their elements."""

    name: str | None

    def __setstate__(self, state):
        raise ModelError('it changes a type')


class _Call:
    """A function that a pickle may call, and not change."""

    __slots__ = ('function',)

    def __init__(self, function):
        self.function = function

    def __call__(self, *arguments):
        return self.function(*arguments)

    def __setstate__(self, state):
        raise ModelError('it changes a function')


def _tensor(storage, offset, size, stride, *_, element=None) -> Tensor:
    if not isinstance(storage, Storage):
        raise ModelError('a tensor has no storage')
    return view(storage, element or storage.element, offset, size, stride)


def _tensor_with_type(storage, offset, size, stride, _, __, element, *___):
    if not isinstance(element, _Element):
        raise ModelError('a tensor is of a type that is not known')
    return _tensor(storage, offset, size, stride, element=element.name)


def _parameter(tensor, *_):
    if not isinstance(tensor, Tensor):
        raise ModelError('a parameter is not a tensor')
    return tensor


def _from_type(function, _, arguments, *__):
    if not isinstance(function, _Call):
        raise ModelError('a tensor is rebuilt by something unknown')
    return function(*arguments)


def _reconstructed(kind, *_):
    return kind() if isinstance(kind, type) and issubclass(kind, _Inert) else _Dictionary()


CALLS = {
    'builtins.set': set,
    'builtins.frozenset': frozenset,
    'copyreg._reconstructor': _reconstructed,
    'torch.Size': tuple,
    'torch._utils._rebuild_tensor': _tensor,
    'torch._utils._rebuild_tensor_v2': _tensor,
    'torch._utils._rebuild_tensor_v3': _tensor_with_type,
    'torch._utils._rebuild_parameter': _parameter,
    'torch._utils._rebuild_parameter_with_state': _parameter,
    'torch._tensor._rebuild_from_type_v2': _from_type,
}
