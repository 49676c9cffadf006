"""Read the pickles of PyTorch checkpoints without PyTorch and without executing their code.

A pickle is a program that may call anything importable. This reader imports nothing:
:mod:`models.convert.pickled_names` says what becomes of a name. Time and memory grow with the size
of the pickle and no faster, for which

    - the number of steps is limited;
    - sets, and items of dictionaries whose keys are not text, are left out, as nothing here needs
      them: to hash a tuple of tuples can take forever;
    - a call copies no arguments, and no number, name or key is long.

Formats: Python's pickletools; PyTorch's torch/serialization.py.
"""

import pickle
from collections.abc import Callable
from typing import Any, BinaryIO, ClassVar, Protocol, TypeVar

from common.log import LOG
from common.terminal.name_list import first_names
from common.terminal.short_repr import short_text
from models.convert import pickled_names
from models.convert.pickled_names import DICTIONARY, INERT, ElementType, Inert
from models.convert.tensors import Storage, is_count
from models.errors import ModelError

MAX_STEPS = 4_000_000  # reads from the pickles of a file, one to three for each opcode
MAX_KEY_LENGTH = 1000  # characters of a key of a dictionary
MAX_STORAGE_KEY_LENGTH = 100  # characters
MAX_INTEGER_LENGTH = 1000  # bytes or digits
MAX_LINE_BYTES = 1 << 24  # of names and texts in the oldest protocols
MAX_LOGGED_NAMES = 6  # names of inert objects in the log
# Names by number, buffers outside of the pickle, and persistent ids that are not tuples.
FORBIDDEN_OPCODES = {
    *(pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.PERSID),
    *(pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
}

T = TypeVar('T')


class StorageFactory(Protocol):
    """Returns the storage of a persistent id."""

    def __call__(self, element: str | None, key: str, count: int, view: object) -> Storage:
        """Return a storage.

        Args:
            element: Element type; None if the storage is untyped.
            key: The storage's key.
            count: Number of elements, or of bytes if the storage is untyped.
            view: What follows in the persistent id, None if nothing does.
        """


class Pickles:
    """The pickles of a file, one after the other.

    Args:
        stream: A stream at the start of a pickle.
        size: Number of bytes in the stream.
        storage_of: Returns the storages to which the pickles refer.
    """

    def __init__(self, stream: BinaryIO, size: int, storage_of: StorageFactory):
        self._stream = _LimitedStream(stream, size)
        self._storage_of = storage_of

    def load(self) -> object:
        """Load the next pickle; the stream is then at its end.

        Returns:
            The pickled object: plain values, dictionaries with keys of text,
            :class:`models.convert.tensors.Tensor` and inert objects.

        Raises:
            ModelError: The pickle contains something that is not allowed. A damaged pickle raises
                any exception.
        """
        unpickler = _Unpickler(self._stream, self._storage_of)
        result = unpickler.load()
        if names := sorted(unpickler.other_names):
            rest = len(names) - MAX_LOGGED_NAMES
            shown = first_names(names[:MAX_LOGGED_NAMES], len(names))
            more = f' and {rest} others' if rest > 0 else ''
            LOG.info('ignored objects that are not arrays: %s%s', shown, more)
        return result


class _LimitedStream:
    """A stream of ``size`` bytes that is read in a limited number of steps."""

    def __init__(self, stream: BinaryIO, size: int):
        self._stream, self._size, self.steps = stream, size, 0
        self._limit = min(size, MAX_STEPS)

    def take(self, steps: int) -> None:
        """Count steps; raise ``ModelError`` if they are too many."""
        self.steps += steps
        if self.steps > self._limit:
            raise ModelError(f'its pickle takes more than {self._limit:,} steps to read')

    def read(self, size: int) -> bytes:
        self.take(size > 0)
        content = self._stream.read(min(size, self._size))  # so many are allocated at once
        if len(content) != size:
            raise EOFError('its pickle ends early')
        return content

    def readline(self) -> bytes:
        self.take(1)
        line = self._stream.readline(MAX_LINE_BYTES)
        if not line.endswith(b'\n'):
            raise EOFError('a line of its pickle has no end')
        return line


class _Opcodes(dict[int, Callable[..., None]]):
    """The method of each opcode."""

    def __missing__(self, opcode: int) -> Callable[..., None]:
        raise ModelError(f'its pickle has the unknown or forbidden opcode {opcode:#04x}')


class _Unpickler(pickle._Unpickler):
    """An unpickler that imports and calls nothing.

    The base class is the Python implementation, because the methods of that in C cannot be
    replaced.
    """

    stack: list[Any]
    metastack: list[list[Any]]
    memo: dict[int, Any]
    pop_mark: Callable[[], list[Any]]
    append: Callable[[Any], None]
    read: Callable[[int], bytes]
    readline: Callable[[], bytes]
    dispatch: ClassVar[dict[int, Callable[..., None]]] = _Opcodes(
        (code, method)
        for code, method in pickle._Unpickler.dispatch.items()
        if bytes([code]) not in FORBIDDEN_OPCODES
    )

    def __init__(self, stream: _LimitedStream, storage_of: StorageFactory):
        super().__init__(stream, encoding='latin1')
        self.stream, self.storage_of = stream, storage_of
        self.first_step = stream.steps
        self.other_names: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        found, other_name = pickled_names.find(module, name)
        if other_name is not None:
            self.other_names.add(other_name)
        return found

    def persistent_load(self, pid: object) -> Storage:
        if type(pid) is not tuple or len(pid) not in (5, 6):
            raise ModelError('it refers to something that is not a storage')
        kind, element, key, _, count, *view = pid
        sound = kind == 'storage' and isinstance(element, ElementType) and isinstance(key, str)
        if not sound or not is_count(count) or len(key) > MAX_STORAGE_KEY_LENGTH:
            raise ModelError('it refers to something that is not a storage')
        part = view[0] if view else None
        return self._named(self.storage_of, element.name, key, count, part)

    def call(self, function: object, arguments: object) -> object:
        return self._named(pickled_names.call, function, arguments)

    def _named(self, function: Callable[..., T], *arguments: object) -> T:
        """Call a function; name the nearest key of a dictionary in its errors."""
        try:
            return function(*arguments)
        except ModelError as error:
            stacks = (self.stack, *reversed(self.metastack))
            values = (value for stack in stacks for value in reversed(stack))
            name = next((value for value in values if isinstance(value, str)), None)
            place = '' if name is None else f'{short_text(name)}: '
            raise ModelError(f'{place}{error}') from error

    def load_frame(self) -> None:
        self.read(8)  # frames only help to read ahead

    def load_long4(self) -> None:
        size = int.from_bytes(self.read(4), 'little')
        _check_integer(size)
        self.append(pickle.decode_long(self.read(size)))

    def load_bytearray8(self) -> None:
        # The base class would allocate the bytes before it reads them.
        self.append(self.read(int.from_bytes(self.read(8), 'little')))

    def load_int(self) -> None:
        text = self.readline()[:-1]
        _check_integer(len(text))
        self.append({b'00': False, b'01': True}[text] if text in (b'00', b'01') else int(text, 0))

    def load_long(self) -> None:
        text = self.readline()[:-1].removesuffix(b'L')
        _check_integer(len(text))
        self.append(int(text, 0))

    def memoize(self, index: int) -> None:
        if not 0 <= index <= self.stream.steps - self.first_step:
            raise ModelError('its pickle has a memo index out of range')
        self.memo[index] = self.stack[-1]

    def load_put(self) -> None:
        self.memoize(int(self.readline()[:-1]))

    def load_binput(self) -> None:
        self.memoize(self.read(1)[0])

    def load_long_binput(self) -> None:
        self.memoize(int.from_bytes(self.read(4), 'little'))

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        function = self.stack[-1]
        self.stack[-1] = self.call(function, arguments)
        if function is DICTIONARY and arguments and isinstance(arguments[-1], list):
            self._store_pairs(arguments[-1])

    def load_newobj(self) -> None:
        self.load_reduce()

    def load_newobj_ex(self) -> None:
        self.stack.pop()  # arguments by name, which no function here takes
        self.load_reduce()

    def load_obj(self) -> None:
        function, *arguments = self.pop_mark()
        self.append(self.call(function, tuple(arguments)))

    def load_inst(self) -> None:
        module, name = (str(self.readline()[:-1], 'ascii') for _ in range(2))
        function = self.find_class(module, name)
        self.append(self.call(function, tuple(self.pop_mark())))

    def load_build(self) -> None:
        self.stack.pop()
        pickled_names.check_changeable(self.stack[-1])

    def load_empty_set(self) -> None:
        self.append(INERT)

    def load_frozenset(self) -> None:
        self.pop_mark()
        self.append(INERT)

    def load_additems(self) -> None:
        self.pop_mark()
        pickled_names.check_changeable(self.stack[-1])

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append({})
        self._store(items)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._store([key, value])

    def load_setitems(self) -> None:
        items = self.pop_mark()
        self._store(items)

    def _store(self, items: list[Any]) -> None:
        """Store keys and values, which alternate, in the dictionary on top of the stack."""
        target = self.stack[-1]
        pickled_names.check_changeable(target)
        if isinstance(target, Inert):
            return
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is str:
                if len(key) > MAX_KEY_LENGTH:
                    raise ModelError(f'{short_text(key)}: a name of {len(key):,} characters')
                target[key] = value

    def _store_pairs(self, pairs: list[Any]) -> None:
        """Store pairs, as Python 2 passes them to OrderedDict."""
        self.stream.take(len(pairs))
        for pair in pairs:
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                raise ModelError('a dictionary has an item that is no pair')
            self._store([*pair])

    for _code, _method in (
        (pickle.FRAME, load_frame),
        (pickle.LONG4, load_long4),
        (pickle.BYTEARRAY8, load_bytearray8),
        (pickle.INT, load_int),
        (pickle.LONG, load_long),
        (pickle.PUT, load_put),
        (pickle.BINPUT, load_binput),
        (pickle.LONG_BINPUT, load_long_binput),
        (pickle.REDUCE, load_reduce),
        (pickle.NEWOBJ, load_newobj),
        (pickle.NEWOBJ_EX, load_newobj_ex),
        (pickle.OBJ, load_obj),
        (pickle.INST, load_inst),
        (pickle.BUILD, load_build),
        (pickle.EMPTY_SET, load_empty_set),
        (pickle.FROZENSET, load_frozenset),
        (pickle.ADDITEMS, load_additems),
        (pickle.DICT, load_dict),
        (pickle.SETITEM, load_setitem),
        (pickle.SETITEMS, load_setitems),
    ):
        dispatch[_code[0]] = _method


def _check_integer(length: int) -> None:
    """Raise ``ModelError`` for an integer of so many bytes or digits that it takes time."""
    if length > MAX_INTEGER_LENGTH:
        raise ModelError(f'its pickle has an integer of {length:,} bytes')
