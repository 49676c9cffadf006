"""Pickles of PyTorch checkpoints, read without PyTorch and without running what is in them.

A pickle is a program that may call anything importable. Here nothing is imported: a name becomes
one of the few functions below that rebuild tensors, a plain container, or an inert object that
takes everything and does nothing. Of the standard library, numpy and torch only the names below are
allowed, and others are refused; a name of anything else becomes an inert object, and the log says
which these were. Keys of dictionaries are plain values: hashing a tuple of tuples takes time that
doubles with each level. Sizes, strides and offsets are checked against the storage before a tensor
is made of them.

Formats: Python's pickletools; PyTorch's torch/serialization.py, torch/_utils.py (``_rebuild_*``).
"""

import io
import pickle
import pickletools
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from mmap import mmap
from typing import Any, ClassVar

from common.log import LOG
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
PLAIN = (str, int, float, bool, bytes, type(None))  # keys of dictionaries, and flat tuples of these
MOST_IGNORED = 1000  # different names that become inert objects
MOST_NAMED = 6  # of these in the log
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
    unpickler.inert = {}
    try:
        result = unpickler.load()
    except (TypeError, AttributeError, AssertionError) as error:
        raise ModelError(f'a pickle that is not of a checkpoint: {error}') from error
    if names := sorted(name for name in unpickler.inert if name not in HARMLESS):
        rest = len(names) - MOST_NAMED
        shown = ''.join(c if c.isprintable() else '?' for c in ', '.join(names[:MOST_NAMED]))
        more = f' and {rest} others' if rest > 0 else ''
        LOG.info('ignored, objects that are no arrays: %s%s', shown, more)
    return result


def length(stream: bytes | mmap) -> int:
    """Bytes of the pickle that ``stream``, from its position, begins with; checks the memo, whose
    places a pickle could number so that they fill the memory.
    """
    start = end = 0 if isinstance(stream, bytes) else stream.tell()
    # Typeshed asks for a whole IO; of an mmap genops needs no more than there is.
    for opcode, argument, position in pickletools.genops(stream):  # type: ignore[arg-type]
        assert position is not None  # both kinds of stream know it
        if opcode.name in FORBIDDEN:
            raise ModelError(f'the pickle has the opcode {opcode.name}')
        place = argument if opcode.name in ('PUT', 'BINPUT', 'LONG_BINPUT') else None
        if place is not None and place > position - start:
            raise ModelError('the pickle numbers its memo out of range')
        end = position + 1
    return end - start


class _Unpickler(pickle._Unpickler):
    """A pickle.Unpickler to which only a few names mean anything, and which looks at what it is
    about to hash. That in C can be asked for the former only.
    """

    storage_of: Callable[..., Storage]
    inert: dict[str, type]  # by name, the classes that have taken its place
    stack: list[Any]
    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(pickle._Unpickler.dispatch)

    def load_setitem(self) -> None:
        check_key(self.stack[-2])
        super().load_setitem()  # type: ignore[misc]  # not in typeshed

    def load_setitems(self) -> None:
        for key in self.stack[::2]:
            check_key(key)
        super().load_setitems()  # type: ignore[misc]  # not in typeshed

    def load_dict(self) -> None:
        for key in self.stack[::2]:
            check_key(key)
        super().load_dict()  # type: ignore[misc]  # not in typeshed

    def load_additems(self) -> None:
        for item in self.stack:
            check_key(item)
        super().load_additems()  # type: ignore[misc]  # not in typeshed

    def load_frozenset(self) -> None:
        for item in self.stack:
            check_key(item)
        super().load_frozenset()  # type: ignore[misc]  # not in typeshed

    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems
    dispatch[pickle.DICT[0]] = load_dict
    dispatch[pickle.ADDITEMS[0]] = load_additems
    dispatch[pickle.FROZENSET[0]] = load_frozenset

    def find_class(self, module: str, name: str) -> Any:
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
            return self._inert(full)
        advice = ''
        if module.startswith(('torch.nn', 'torch.optim')):
            advice = ': save the state_dict() of the network, not the network'
        raise ModelError(f'it needs {full}, which is not one of the names that are allowed{advice}')

    def _inert(self, full: str) -> type:
        if full not in self.inert:
            if len(self.inert) == MOST_IGNORED:
                raise ModelError(f'it has objects of more than {MOST_IGNORED} classes')
            self.inert[full] = type('Inert', (_Inert,), {'__slots__': ()})
        return self.inert[full]

    def persistent_load(self, pid: object) -> Storage:
        kind, element, key, _, count, *view = pid if isinstance(pid, tuple) else (None,) * 5
        sound = kind == 'storage' and isinstance(element, _Element) and isinstance(key, str)
        if not sound or not is_count(count) or len(view) > 1:
            raise ModelError('it refers to something that is not a storage')
        return self.storage_of(element.name, key, count, view[0] if view else None)


def check_key(key: object) -> None:
    """Raise ``ModelError`` for what a dictionary or a set may not have.

    Inert objects, which the bytes of protocol 2 and numpy's numbers are here, hash as quickly as
    plain values.
    """
    parts = key if isinstance(key, tuple) else (key,)
    if not all(isinstance(part, (*PLAIN, _Inert)) for part in parts):
        raise ModelError('a key of a dictionary is not a plain value')


class _Inert:
    """In place of an object of a class that is not needed: takes all, does nothing, keeps
    nothing.
    """

    __slots__ = ()

    def __new__(cls, *_: object, **__: object) -> '_Inert':
        return object.__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, value: object) -> None:
        pass

    extend = add = append


class _Dictionary(dict[Any, Any]):
    """In place of an OrderedDict, without the attributes that a pickle may set."""

    __slots__ = ()

    def __init__(self, items: object = ()) -> None:
        pairs = [tuple(pair) for pair in items] if isinstance(items, list) else []
        for key, _ in pairs:
            check_key(key)
        super().__init__(items if isinstance(items, dict) else pairs)

    def __setstate__(self, state: object) -> None:
        pass


@dataclass(frozen=True, eq=False)
class _Element:
    """A type of elements, or of storages by their elements."""

    name: str | None

    def __setstate__(self, state: object) -> None:
        raise ModelError('it changes a type')


class _Call:
    """A function that a pickle may call, and not change."""

    __slots__ = ('function',)

    def __init__(self, function: Callable[..., object]) -> None:
        self.function = function

    def __call__(self, *arguments: object) -> object:
        return self.function(*arguments)

    def __setstate__(self, state: object) -> None:
        raise ModelError('it changes a function')


def _tensor(
    storage: object, offset: Any, size: Any, stride: Any, *_: object, element: str | None = None
) -> Tensor:
    if not isinstance(storage, Storage):
        raise ModelError('a tensor has no storage')
    return view(storage, element or storage.element, offset, size, stride)


def _tensor_with_type(
    storage: object,
    offset: Any,
    size: Any,
    stride: Any,
    _: object,
    __: object,
    element: object,
    *___: object,
) -> Tensor:
    if not isinstance(element, _Element):
        raise ModelError('a tensor is of a type that is not known')
    return _tensor(storage, offset, size, stride, element=element.name)


def _parameter(tensor: object, *_: object) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise ModelError('a parameter is not a tensor')
    return tensor


def _from_type(function: object, _: object, arguments: Any, *__: object) -> object:
    if not isinstance(function, _Call):
        raise ModelError('a tensor is rebuilt by something unknown')
    return function(*arguments)


def _set(items: Iterable[Any] = ()) -> set[Any]:
    items = list(items)
    for item in items:
        check_key(item)
    return set(items)


def _reconstructed(kind: object, *_: object) -> _Inert | _Dictionary:
    return kind() if isinstance(kind, type) and issubclass(kind, _Inert) else _Dictionary()


CALLS: dict[str, Callable[..., object]] = {
    'builtins.set': _set,
    'builtins.frozenset': _set,
    'copyreg._reconstructor': _reconstructed,
    'torch.Size': tuple,
    'torch._utils._rebuild_tensor': _tensor,
    'torch._utils._rebuild_tensor_v2': _tensor,
    'torch._utils._rebuild_tensor_v3': _tensor_with_type,
    'torch._utils._rebuild_parameter': _parameter,
    'torch._utils._rebuild_parameter_with_state': _parameter,
    'torch._tensor._rebuild_from_type_v2': _from_type,
}
