"""Write checkpoints as torch.save does, without PyTorch."""

import io
import pickle
import struct
import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from fuzz.mutators.containers import zipped

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class _Tensor:
    """A tensor that is pickled as PyTorch pickles one."""

    def __init__(self, key: str, array: np.ndarray):
        self.key, self.array = key, array

    def __reduce__(self) -> tuple[Any, ...]:
        strides = tuple(step // self.array.itemsize for step in self.array.strides)
        storage = _Storage(self.key, self.array.size)
        arguments: tuple[Any, ...] = (storage, 0, self.array.shape, strides, False, OrderedDict())
        return sys.modules['torch._utils']._rebuild_tensor_v2, arguments


class _Storage:
    """The numbers of a tensor, which are outside of the pickle."""

    def __init__(self, key: str, count: int):
        self.key, self.count = key, count


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        """Return what the pickle has in place of a storage."""
        if not isinstance(value, _Storage):
            return None
        return 'storage', sys.modules['torch'].FloatStorage, value.key, 'cpu', value.count


@contextmanager
def _names_of_torch() -> Iterator[None]:
    """Make the names that a pickle refers to importable: it stores their modules only."""
    modules = {name: ModuleType(name) for name in ('torch', 'torch._utils')}

    def _rebuild_tensor_v2() -> None:
        """Stand for PyTorch's function of this name."""

    storage = type('FloatStorage', (), {'__module__': 'torch'})
    _rebuild_tensor_v2.__module__ = 'torch._utils'
    _rebuild_tensor_v2.__qualname__ = '_rebuild_tensor_v2'
    modules['torch._utils']._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    modules['torch'].FloatStorage = storage  # type: ignore[attr-defined]
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def _pickled(value: Any) -> bytes:
    buffer = io.BytesIO()
    with _names_of_torch():
        _Pickler(buffer, 2).dump(value)
    return buffer.getvalue()


def _tree(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    tensors = OrderedDict(
        (name, _Tensor(str(i), array)) for i, (name, array) in enumerate(arrays.items())
    )
    return {'state_dict': tensors, 'epoch': 7, 'best': 0.5, 'classes': ['road', 'car']}


def torch_zip(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return a checkpoint of torch.save since 1.6; arrays are float32."""
    storages = [(f'archive/data/{i}', a.tobytes()) for i, a in enumerate(arrays.values())]
    return zipped(
        [
            ('archive/data.pkl', _pickled(_tree(arrays))),
            ('archive/byteorder', b'little'),
            *storages,
            ('archive/version', b'3\n'),
        ]
    )


def torch_legacy(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return a checkpoint of torch.save before 1.6; arrays are float32."""
    machine = dict(protocol_version=_PROTOCOL, little_endian=True, type_sizes=dict(int=4))
    keys = list(map(str, range(len(arrays))))
    heads = [_pickled(part) for part in (_MAGIC, _PROTOCOL, machine, _tree(arrays), keys)]
    bodies = [struct.pack('<q', array.size) + array.tobytes() for array in arrays.values()]
    return b''.join(heads + bodies)
