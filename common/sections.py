"""Config sections: frozen dataclasses whose fields are keys with type, range and meaning.

    @dataclass(frozen=True, kw_only=True)
    class SolverKeys(Section):
        momentum: float = config_key(0.9, 'share of the velocity that stays', least=0, most=1)

    SolverKeys(momentum=0.5)
    SolverKeys.of({'momentum': 0.5, 'lr': 0.1})     # uses its own keys and ignores the others

A section is defined beside the code that reads it. The annotation of a field is the type of its
key: ``int``, ``float``, ``str``, ``bool`` or a tuple of them. ``tuple[float, float]`` is a list of
two values in a config file, ``tuple[int, ...]`` a list of at least one, ``dict[str, Any]`` a block,
whose content the section checks. A union with ``None`` marks a key without a fixed default. A
subclass can override only the default of an inherited key: ``momentum: float = 0.8``.
"""

import math
import sys
import types
import typing
from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, TypeVar

from common.errors import UserError
from common.terminal.short_repr import short_repr, short_text

PLAIN_TYPES = {
    int: ('whole number', 'whole numbers'),
    float: ('number', 'numbers'),
    str: ('text', 'texts'),
    bool: ('true or false', 'true or false'),
    dict: ('a block of "key: value" lines', 'blocks of "key: value" lines'),
}
S = TypeVar('S', bound='Section')


class SectionError(UserError):
    """A key has an invalid value.

    Args:
        key: Name of the key, or several names separated by commas.
        problem: Description of the fault.

    Attributes:
        keys: All names.
        key: The first of the names.
        problem: Description of the fault.
    """

    def __init__(self, key: str, problem: str):
        super().__init__(f'{key}: {problem}')
        self.keys, self.problem = tuple(key.split(', ')), problem
        self.key = self.keys[0]


@dataclass(frozen=True)
class Key:
    """The specification of one config key.

    Attributes:
        name: The key.
        type: The annotation of its field, without ``None``.
        default: The value if the config does not set the key; ``MISSING`` for a required key.
        meaning: Description of the value, with its unit.
        least: Inclusive minimum of a number, or of each number in a list.
        most: Inclusive maximum of a number, or of each number in a list.
        above: Exclusive minimum of a number, or of each number in a list.
        choices: Allowed texts. If this is a view of a registry, it grows with the registry.
        default_text: Description of the behaviour if the default is ``None``.
    """

    name: str
    type: Any
    default: Any
    meaning: str
    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf
    choices: Collection[str] = ()
    default_text: str = 'none'

    def convert(self, value: Any) -> Any:
        """Return ``value`` converted to the key's type; lists become tuples.

        Raises:
            SectionError: The value has the wrong type, is out of range or not among the choices.
        """
        try:
            return self._convert(value, self.type)
        except ValueError as error:
            raise SectionError(self.name, f'{error}, not {short_repr(value)}') from error

    def _convert(self, value: Any, type_: Any) -> Any:
        if typing.get_origin(type_) is tuple:
            if not isinstance(value, (list, tuple)):
                such = (
                    f', such as [{short_text(value)}]'
                    if isinstance(value, (int, float, str))
                    else ''
                )
                raise ValueError(f'must be a list{such}')
            inner = typing.get_args(type_)
            if Ellipsis not in inner and len(value) != len(inner):
                raise ValueError(f'must be a list of {len(inner)} values')
            if not value:
                raise ValueError('must be a list of at least one value')
            return tuple(self._convert(item, inner[0]) for item in value)
        type_ = typing.get_origin(type_) or type_  # dict[str, Any] is a dict
        if type_ is float and isinstance(value, str):  # YAML 1.1 reads 1e-4 (no point) as text
            try:
                value = float(value)
            except ValueError:
                raise ValueError('must be a number') from None
        wrong_bool = isinstance(value, bool) and type_ is not bool
        if wrong_bool or not isinstance(value, (int, float) if type_ is float else type_):
            name = PLAIN_TYPES[type_][0]
            raise ValueError(f'must be a {name}' if type_ in (int, float) else f'must be {name}')
        if self.choices and value not in self.choices:
            *others, last = self.choices
            raise ValueError('must be ' + ' or '.join([', '.join(others)] * bool(others) + [last]))
        if type_ in (int, float):
            if not abs(value) <= sys.float_info.max:  # also for NaN, and for integers of any size
                raise ValueError('must be finite')
            if not self.least <= value <= self.most or not value > self.above:
                raise ValueError(f'must be {self.range_text()}')
            value = type_(value)
        return value

    def accepts_same_values_as(self, other: 'Key') -> bool:
        """Return whether both keys accept exactly the same values."""
        return all(
            getattr(self, name) == getattr(other, name)
            for name in ('type', 'least', 'most', 'above', 'choices')
        )

    def type_text(self) -> str:
        """Return the type in words, such as ``list of 3 numbers``."""
        return _type_text(self.type)

    def range_text(self) -> str:
        """Return the range of a number in words, or the choices of a text; '' if unrestricted."""
        if self.choices:
            return f'one of {", ".join(self.choices)}'
        bounds = [f'at least {self.least:g}'] * (self.least > -math.inf)
        bounds += [f'at most {self.most:g}'] * (self.most < math.inf)
        bounds += [f'greater than {self.above:g}'] * (self.above > -math.inf)
        return ' and '.join(bounds)

    def default_words(self) -> str:
        """Return the default in YAML notation, or what applies without a value."""
        if self.default is MISSING:
            return 'required'
        if self.default is None or self.default == ():
            return self.default_text
        return _yaml_text(self.default)


def config_key(default: Any = MISSING, meaning: str = '', **words: Any) -> Any:
    """Return the dataclass field of a key.

    Args:
        default: Value if the config does not set the key; without it the key is required.
        meaning: Description of the value, with its unit.
        words: Further attributes of :class:`Key`.
    """
    metadata = {'meaning': meaning, **words}
    return (
        field(metadata=metadata)
        if default is MISSING
        else field(default=default, metadata=metadata)
    )


@dataclass(frozen=True, kw_only=True)
class Section:
    """A group of related config keys; creating an instance checks every value.

    Raises:
        SectionError: A value has the wrong type or is out of range.
    """

    def __post_init__(self) -> None:
        for each in keys_of(type(self)).values():
            value = getattr(self, each.name)
            if value is not None and value != ():
                object.__setattr__(self, each.name, each.convert(value))

    @classmethod
    def of(cls: type[S], values: Mapping[str, Any]) -> S:
        """Create the section from a config.

        Args:
            values: All keys of a config; keys of other sections are ignored.

        Raises:
            SectionError: A value is invalid, or a required key is missing.
        """
        for name in cls.missing(values):
            raise SectionError(name, 'must be given')
        own = {name: values[name] for name in keys_of(cls) if values.get(name) is not None}
        return cls(**own)

    @classmethod
    def missing(cls, values: Mapping[str, Any]) -> list[str]:
        """Return the required keys of this section that ``values`` does not contain."""
        return [
            name
            for name, each in keys_of(cls).items()
            if each.default is MISSING and values.get(name) is None
        ]


def keys_of(section: type[Section]) -> dict[str, Key]:
    """Return the keys of a section by name, in the order of their declaration."""
    hints = typing.get_type_hints(section)
    return {
        each.name: Key(
            name=each.name,
            type=_without_none(hints[each.name]),
            default=each.default,
            **_metadata(section, each.name),
        )
        for each in fields(section)
    }


def plain(value: Any) -> Any:
    """Return a section's value in YAML and JSON types: lists instead of tuples."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _metadata(section: type[Section], name: str) -> Mapping[str, Any]:
    """Return the metadata of a key, which a subclass may inherit."""
    for kind in section.__mro__:
        declared = getattr(kind, '__dataclass_fields__', {}).get(name)
        if declared is not None and declared.metadata:
            return dict(declared.metadata)
    raise TypeError(f'{section.__name__}.{name}: write a key as config_key(...)')


def _without_none(annotation: Any) -> Any:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        (only,) = (each for each in typing.get_args(annotation) if each is not type(None))
        return only
    return annotation


def _type_text(type_: Any, several: bool = False) -> str:
    if typing.get_origin(type_) is not tuple:
        return PLAIN_TYPES[typing.get_origin(type_) or type_][several]
    inner = typing.get_args(type_)
    count = '' if Ellipsis in inner else f'{len(inner)} '
    return f'{"lists" if several else "list"} of {count}{_type_text(inner[0], several=True)}'


def _yaml_text(value: Any) -> str:
    if isinstance(value, tuple):
        return f'[{", ".join(map(_yaml_text, value))}]'
    if isinstance(value, bool):
        return str(value).lower()
    return f'{value:g}' if isinstance(value, float) else str(value)
