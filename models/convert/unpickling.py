"""Read the pickles of PyTorch checkpoints without PyTorch and without executing their code.

A pickle is a program that may call anything importable. This reader imports nothing. It maps a name
to one of the few functions below that rebuild tensors, to a plain container, or to an inert object,
which accepts every call and does nothing. The reader accepts only the names below from the standard
library, numpy and torch, and refuses all others. Names of other packages become inert objects and
are logged. Keys of dictionaries must be plain values, because the time to hash a tuple of tuples
doubles with each level. Sizes, strides and offsets are checked against the storage before a tensor
is created.

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
from models.convert.tensors import NUMPY_TYPES, Storage, Tensor, is_count, view
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
    'UntypedStorage': None,  # plain bytes; the tensor states the type
}
# Names of the standard library, numpy and PyTorch that checkpoints hold besides tensors. They
# become inert objects without an entry in the log.
INERT_NAMES = {
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
    '_codecs.encode',  # encodes the bytes of a numpy scalar
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
# Only the names in this module are allowed from these packages.
RESTRICTED_PACKAGES = sys.stdlib_module_names | {'numpy', 'torch', '__builtin__'}
PYTHON2_MODULES = {'__builtin__': 'builtins', 'copy_reg': 'copyreg'}  # old name -> new name
# Keys of dictionaries are of these types, or flat tuples of them.
PLAIN_TYPES = (str, int, float, bool, bytes, type(None))
MAX_INERT_CLASSES = 1000  # distinct names that become inert objects
MAX_LOGGED_NAMES = 6  # names of inert objects in the log
FORBIDDEN_OPCODES = {'EXT1', 'EXT2', 'EXT4', 'NEXT_BUFFER', 'READONLY_BUFFER'}


def load(stream: bytes, storage_of: Callable[..., Storage]) -> object:
    """Load a pickle.

    Args:
        stream: The bytes of one pickle.
        storage_of: ``storage_of(element, key, count, view)`` returns the :class:`Storage` of a
            persistent id.

    Returns:
        The pickled object: plain values, :class:`Tensor` and inert objects.

    Raises:
        ModelError: The pickle contains something that is not allowed. A damaged pickle raises one
            of :data:`models.convert.tensors.DAMAGE_ERRORS`.
    """
    pickle_length(stream)
    unpickler = _Unpickler(io.BytesIO(stream), encoding='latin1')
    unpickler.storage_of = storage_of
    unpickler.inert = {}
    try:
        result = unpickler.load()
    except (TypeError, AttributeError, AssertionError) as error:
        raise ModelError(f'it is not the pickle of a checkpoint: {error}') from error
    if names := sorted(name for name in unpickler.inert if name not in INERT_NAMES):
        rest = len(names) - MAX_LOGGED_NAMES
        shown = ''.join(c if c.isprintable() else '?' for c in ', '.join(names[:MAX_LOGGED_NAMES]))
        more = f' and {rest} others' if rest > 0 else ''
        LOG.info('ignored objects that are not arrays: %s%s', shown, more)
    return result


def pickle_length(stream: bytes | mmap) -> int:
    """Return the number of bytes of the pickle at the current position of a stream.

    The indices of the memo are checked as well, because a pickle could choose them so large that
    the memo fills the memory.

    Args:
        stream: One pickle as bytes, or a memory-mapped file at the start of a pickle.

    Raises:
        ModelError: The pickle has a forbidden opcode or a memo index out of range. A damaged pickle
            raises one of :data:`models.convert.tensors.DAMAGE_ERRORS`.
    """
    start = end = 0 if isinstance(stream, bytes) else stream.tell()
    # typeshed requires a complete IO, but genops uses only methods that an mmap has.
    for opcode, argument, position in pickletools.genops(stream):  # type: ignore[arg-type]
        assert position is not None  # both kinds of stream have tell()
        if opcode.name in FORBIDDEN_OPCODES:
            raise ModelError(f'the pickle has the forbidden opcode {opcode.name}')
        place = argument if opcode.name in ('PUT', 'BINPUT', 'LONG_BINPUT') else None
        if place is not None and place > position - start:
            raise ModelError('the pickle has a memo index out of range')
        end = position + 1
    return end - start


class _Unpickler(pickle._Unpickler):
    """An unpickler that restricts names and checks keys before it hashes them.

    The base class is the Python implementation, because the one in C cannot check keys.
    """

    storage_of: Callable[..., Storage]
    inert: dict[str, type]  # replacement classes by the name that they replace
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
        module = PYTHON2_MODULES.get(module, module)
        full = f'{module}.{name}'
        if full in ALLOWED_FUNCTIONS:
            return _Call(ALLOWED_FUNCTIONS[full])
        if full in ('collections.OrderedDict', 'collections.defaultdict'):
            return _Dictionary
        if module in ('torch', 'torch.storage', 'torch.cuda') and name in STORAGES:
            return _Element(STORAGES[name])
        if module == 'torch' and name in NUMPY_TYPES:
            return _Element(name)
        if full in INERT_NAMES or module.partition('.')[0] not in RESTRICTED_PACKAGES:
            return self._inert(full)
        advice = ''
        if module.startswith(('torch.nn', 'torch.optim')):
            advice = ': save the state_dict() of the network, not the network'
        raise ModelError(f'it needs {full}, which is not an allowed name{advice}')

    def _inert(self, full: str) -> type:
        if full not in self.inert:
            if len(self.inert) == MAX_INERT_CLASSES:
                raise ModelError(f'it has objects of more than {MAX_INERT_CLASSES} classes')
            self.inert[full] = type('Inert', (_Inert,), {'__slots__': ()})
        return self.inert[full]

    def persistent_load(self, pid: object) -> Storage:
        kind, element, key, _, count, *view = pid if isinstance(pid, tuple) else (None,) * 5
        sound = kind == 'storage' and isinstance(element, _Element) and isinstance(key, str)
        if not sound or not is_count(count) or len(view) > 1:
            raise ModelError('it refers to something that is not a storage')
        return self.storage_of(element.name, key, count, view[0] if view else None)


def check_key(key: object) -> None:
    """Raise ``ModelError`` if a key of a dictionary or an item of a set is not a plain value.

    Inert objects are accepted, as they hash quickly; the bytes of protocol 2 and numpy's scalars
    become inert objects here.
    """
    parts = key if isinstance(key, tuple) else (key,)
    if not all(isinstance(part, (*PLAIN_TYPES, _Inert)) for part in parts):
        raise ModelError('a key of a dictionary is not a plain value')


class _Inert:
    """A replacement for objects that are not needed: it accepts every call and stores nothing."""

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
        """Ignore the value."""

    extend = add = append


class _Dictionary(dict[Any, Any]):
    """A replacement for OrderedDict without attributes that a pickle could set."""

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
    """An element type, or the storage type of these elements."""

    name: str | None

    def __setstate__(self, state: object) -> None:
        raise ModelError('it changes a type')


class _Call:
    """A function that a pickle can call but not modify."""

    __slots__ = ('function',)

    def __init__(self, function: Callable[..., object]) -> None:
        self.function = function

    def __call__(self, *arguments: object) -> object:
        return self.function(*arguments)

    def __setstate__(self, state: object) -> None:
        raise ModelError('it changes a function')


def _rebuild_tensor(
    storage: object, offset: Any, size: Any, stride: Any, *_: object, element: str | None = None
) -> Tensor:
    if not isinstance(storage, Storage):
        raise ModelError('a tensor has no storage')
    return view(storage, element or storage.element, offset, size, stride)


def _rebuild_typed_tensor(
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
        raise ModelError('a tensor has an unknown type')
    return _rebuild_tensor(storage, offset, size, stride, element=element.name)


def _rebuild_parameter(tensor: object, *_: object) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise ModelError('a parameter is not a tensor')
    return tensor


def _rebuild_from_type(function: object, _: object, arguments: Any, *__: object) -> object:
    if not isinstance(function, _Call):
        raise ModelError('a tensor is rebuilt by an unknown function')
    return function(*arguments)


def _build_set(items: Iterable[Any] = ()) -> set[Any]:
    items = list(items)
    for item in items:
        check_key(item)
    return set(items)


def _reconstruct(kind: object, *_: object) -> _Inert | _Dictionary:
    return kind() if isinstance(kind, type) and issubclass(kind, _Inert) else _Dictionary()


ALLOWED_FUNCTIONS: dict[str, Callable[..., object]] = {
    'builtins.set': _build_set,
    'builtins.frozenset': _build_set,
    'copyreg._reconstructor': _reconstruct,
    'torch.Size': tuple,
    'torch._utils._rebuild_tensor': _rebuild_tensor,
    'torch._utils._rebuild_tensor_v2': _rebuild_tensor,
    'torch._utils._rebuild_tensor_v3': _rebuild_typed_tensor,
    'torch._utils._rebuild_parameter': _rebuild_parameter,
    'torch._utils._rebuild_parameter_with_state': _rebuild_parameter,
    'torch._tensor._rebuild_from_type_v2': _rebuild_from_type,
}
