"""Names that pickles of checkpoints refer to, and what the reader puts in their place.

A name maps to one of the few functions below that rebuild tensors, to an element type, or to an
inert object that ignores whatever is done to it. Nothing is imported. From the standard library,
numpy and torch, only the names below are allowed.

Formats: PyTorch's torch/_utils.py (``_rebuild_*``).
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from common.terminal.short_repr import short_text
from models.convert.tensors import NUMPY_TYPES, Storage, Tensor, view
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
    'builtins.frozenset',
    'builtins.int',
    'builtins.list',
    'builtins.object',
    'builtins.set',
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
MAX_NAME_LENGTH = 500  # characters of a module or of a name in it
MAX_ARGUMENTS = 16  # of a function that rebuilds a tensor


class Inert:
    """An object that is not needed: it ignores whatever a pickle does to it."""

    __slots__ = ()

    def append(self, value: object) -> None:
        """Ignore the value."""

    extend = append


class InertClass:
    """A class or function that is not needed: calls return :data:`INERT`."""

    __slots__ = ()


INERT: Final = Inert()
INERT_CLASS: Final = InertClass()


@dataclass(frozen=True, eq=False, slots=True)
class ElementType:
    """An element type, or the storage type of these elements; None if the storage is untyped."""

    name: str | None


@dataclass(frozen=True, eq=False, slots=True)
class Function:
    """A function that a pickle can call."""

    call: Callable[..., object]


def find(module: str, name: str) -> tuple[object, str | None]:
    """Return what a name stands for, and the name if it is of another package.

    Args:
        module: The module, also of Python 2.
        name: The name in the module.

    Raises:
        ModelError: The name is not allowed.
    """
    if max(len(module), len(name)) > MAX_NAME_LENGTH:
        raise ModelError(f'it has a name of {max(len(module), len(name)):,} characters')
    module = PYTHON2_MODULES.get(module, module)
    full = f'{module}.{name}'
    if full in ALLOWED_FUNCTIONS:
        return ALLOWED_FUNCTIONS[full], None
    if module in ('torch', 'torch.storage', 'torch.cuda') and name in STORAGES:
        return ElementType(STORAGES[name]), None
    if module == 'torch' and name in NUMPY_TYPES:
        return ElementType(name), None
    if full in INERT_NAMES:
        return INERT_CLASS, None
    if module.partition('.')[0] not in RESTRICTED_PACKAGES:
        return INERT_CLASS, full
    advice = ''
    if module.startswith(('torch.nn', 'torch.optim')):
        advice = ': save the state_dict() of the network, not the network'
    raise ModelError(f'it needs {short_text(full)}, which is not an allowed name{advice}')


def call(function: object, arguments: object) -> object:
    """Call what a name stands for.

    Only a function that rebuilds tensors sees the arguments. They are few, so that a call takes no
    longer than it takes to write it down in a pickle.

    Raises:
        ModelError: The call is not possible.
    """
    if isinstance(function, InertClass):
        return INERT
    if not isinstance(function, Function):
        raise ModelError(f'it calls {_described(function)}, which is not callable')
    if type(arguments) is not tuple or len(arguments) > MAX_ARGUMENTS:
        raise ModelError('it calls a function with something else than a few arguments')
    try:
        return function.call(*arguments)
    except TypeError as error:
        raise ModelError('it calls a function with the wrong arguments') from error


def check_changeable(target: object) -> None:
    """Raise ``ModelError`` if a pickle may not set the state of an object."""
    if not isinstance(target, Inert | dict):
        raise ModelError(f'it changes {_described(target)}')


def _described(value: object) -> str:
    kinds = {Function: 'a function', InertClass: 'a class', ElementType: 'a type'}
    kinds |= {Tensor: 'a tensor', Storage: 'a storage'}
    return kinds.get(type(value), 'a value')


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
    if not isinstance(element, ElementType):
        raise ModelError('a tensor has an unknown type')
    return _rebuild_tensor(storage, offset, size, stride, element=element.name)


def _rebuild_parameter(tensor: object, *_: object) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise ModelError('a parameter is not a tensor')
    return tensor


def _rebuild_from_type(function: object, _: object, arguments: object, *__: object) -> object:
    if not isinstance(function, Function):
        raise ModelError('a tensor is rebuilt by an unknown function')
    return call(function, arguments)


def _size(dimensions: object) -> tuple[Any, ...]:
    if not isinstance(dimensions, tuple):
        raise ModelError('a size is not a tuple')
    return dimensions


def _empty_dictionary(*_: object) -> dict[str, Any]:
    return {}


def _reconstruct(kind: object, *_: object) -> Inert | dict[str, Any]:
    return INERT if isinstance(kind, InertClass) else {}


DICTIONARY: Final = Function(_empty_dictionary)  # its items follow; see Unpickler.load_reduce
_REBUILT: dict[str, Callable[..., object]] = {
    'copyreg._reconstructor': _reconstruct,
    'torch.Size': _size,
    'torch._utils._rebuild_tensor': _rebuild_tensor,
    'torch._utils._rebuild_tensor_v2': _rebuild_tensor,
    'torch._utils._rebuild_tensor_v3': _rebuild_typed_tensor,
    'torch._utils._rebuild_parameter': _rebuild_parameter,
    'torch._utils._rebuild_parameter_with_state': _rebuild_parameter,
    'torch._tensor._rebuild_from_type_v2': _rebuild_from_type,
}
ALLOWED_FUNCTIONS: dict[str, Function] = {
    'collections.OrderedDict': DICTIONARY,
    'collections.defaultdict': DICTIONARY,
    **{name: Function(function) for name, function in _REBUILT.items()},
}
