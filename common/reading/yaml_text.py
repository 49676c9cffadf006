"""Read YAML text that people write: plain values, or one kind of error that names file and line.

Duplicate keys are errors, and names stay as written. Aliases and nesting are limited, so that a
small file cannot unfold to gigabytes. Values are texts, numbers, truth values, null, lists and
mappings; what YAML 1.1 takes for a date is a text, and its other types are refused.
"""

from collections.abc import Callable, Collection, Hashable
from pathlib import Path
from typing import Any, NoReturn

import yaml

from common.reading.text_files import TextFileError, read_text
from common.terminal.short_repr import short_repr, short_text

MAX_BYTES = 1 << 19  # of a file; PyYAML reads about a megabyte in two seconds
MAX_NODES = 20_000  # of a text, where each alias counts as what it stands for
MAX_DEPTH = 50  # of lists and mappings
MAX_DIGITS = 100  # of a number
_TAG = 'tag:yaml.org,2002:'
_TEXT = f'{_TAG}str'
_READ_AS_TEXT = f'{_TAG}timestamp', f'{_TAG}value'  # dates, and =
_TAGS = (*(_TAG + name for name in ('null', 'bool', 'int', 'float', 'str', 'seq', 'map')),)


class YamlError(TextFileError):
    """A text is not YAML, or it has more than the values of a config."""


class _Loader(yaml.SafeLoader):
    """A YAML loader of limited time and memory that rejects duplicate keys."""

    yaml_constructors = {
        tag: make for tag, make in yaml.SafeLoader.yaml_constructors.items() if tag in _TAGS
    }
    yaml_implicit_resolvers = {
        first: [(tag, regexp) for tag, regexp in entries if tag not in _READ_AS_TEXT]
        for first, entries in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._sizes: dict[int, int] = {}  # unfolded nodes, by id of a complete node
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node:
        """Return the next node; refuse one that contains itself or unfolds to too many."""
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _problem(f'more than {MAX_DEPTH} lists and mappings in each other', event)
        node = super().compose_node(parent, index)
        assert node is not None  # the parser has seen its beginning
        self._depth -= 1
        if isinstance(event, yaml.AliasEvent) and id(node) not in self._sizes:
            raise _problem(f'the alias {short_text(event.anchor)} contains itself', event)
        if id(node) not in self._sizes:
            parts: list[int] = [self._sizes[id(child)] for child in _children(node)]
            self._sizes[id(node)] = 1 + sum(parts)
        if self._sizes[id(node)] > MAX_NODES or len(self._sizes) > MAX_NODES:
            raise _problem(f'more than {MAX_NODES} values, those of aliases included', event)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return a mapping; refuse a key that is there twice, or is no single value."""
        if not isinstance(node, yaml.MappingNode):
            raise _problem('a tag calls a list or a value a mapping', node)
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _problem('a list or a mapping as a key', key_node)
            if key_node.tag == f'{_TAG}merge':
                raise _problem('<< is not supported; write the keys themselves', key_node)
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise _problem(f'duplicate key {short_text(key)}', key_node)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> str:
        """Return a text; join surrogate pairs, which JSON writes as two escapes."""
        text: str = super().construct_scalar(node)
        if text.isascii():
            return text
        try:
            return text.encode('utf-16', 'surrogatepass').decode('utf-16')
        except UnicodeDecodeError:
            raise _problem('an escape of half of a surrogate pair', node) from None

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        """Return an integer or a float; refuse what an explicit tag wrongly calls so."""
        if len(node.value) > MAX_DIGITS:
            raise _problem(f'a number of more than {MAX_DIGITS} digits', node)
        try:
            whole = node.tag == f'{_TAG}int'
            return self.construct_yaml_int(node) if whole else self.construct_yaml_float(node)
        except (ValueError, LookupError):
            raise _problem(f'{short_repr(node.value)} is no number', node) from None

    def construct_truth(self, node: yaml.ScalarNode) -> bool:
        """Return a truth value; refuse what an explicit tag wrongly calls so."""
        try:
            return self.construct_yaml_bool(node)
        except LookupError:
            raise _problem(f'{short_repr(node.value)} is not true or false', node) from None

    def refuse_tag(self, node: yaml.Node) -> NoReturn:
        """Refuse a value of another type."""
        tag = short_text(node.tag.replace(_TAG, '!!'), 100)
        raise _problem(f'the type {tag} is not supported; remove its tag', node)


_Loader.add_constructor(f'{_TAG}int', _Loader.construct_number)
_Loader.add_constructor(f'{_TAG}float', _Loader.construct_number)
_Loader.add_constructor(f'{_TAG}bool', _Loader.construct_truth)
_Loader.add_constructor(None, _Loader.refuse_tag)


def read(path: Path, name_keys: Collection[str | tuple[str, ...]] = ()) -> Any:
    """Return the plain values of a YAML file.

    Args:
        path: The file.
        name_keys: As for :func:`parse`.

    Raises:
        YamlError: As for :func:`parse`.
        TextFileError: The file is missing, unreadable, too large or not text.
    """
    return parse(read_text(path, MAX_BYTES), path, name_keys)


def parse(text: str, source: Path | str, name_keys: Collection[str | tuple[str, ...]] = ()) -> Any:
    """Return the plain values of a YAML text.

    Args:
        text: The text.
        source: The file or the option that it is from, for the message.
        name_keys: Keys of the outermost mapping whose values are names, see :func:`parse_names`; a
            tuple leads through mappings in each other, in which ``*`` is any key.

    Raises:
        YamlError: The text is not valid YAML, or it unfolds to too many values.
    """

    def values_of_names(root: yaml.Node) -> list[yaml.Node]:
        paths = [(key,) if isinstance(key, str) else key for key in name_keys]
        return [node for path in paths for node in _values_at(root, path)]

    return _load(text, source, values_of_names)


def parse_names(text: str, source: Path | str) -> Any:
    """Return the names in a YAML text: the items of a list, or the keys of a mapping, as written.

    YAML 1.1 reads ``no``, ``off``, ``null`` or ``1.0`` as other values than text.

    Args:
        text: The text.
        source: The file or the option that it is from, for the message.

    Raises:
        YamlError: As for :func:`parse`.
    """
    return _load(text, source, lambda root: [root])


def _load(text: str, source: Path | str, find_names: Callable[[yaml.Node], list[yaml.Node]]) -> Any:
    """Return the values of a text; ``find_names`` selects the nodes that contain names."""
    try:
        return _values_of(text, find_names)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = '' if mark is None else f' in line {mark.line + 1}'
        reason = short_text(error.problem or error.context or 'unknown')
    except yaml.reader.ReaderError as error:
        where = f' in line {text.count(chr(10), 0, error.position) + 1}'
        reason = f'the character #x{error.character:04x} is not allowed'
    except RecursionError:
        where, reason = '', 'it is nested too deeply'
    except (LookupError, TypeError, OverflowError) as error:  # PyYAML lets those of Python pass
        where, reason = '', short_text(str(error))
    raise YamlError(source, f'not valid YAML{where}: {reason}')


def _values_of(text: str, find_names: Callable[[yaml.Node], list[yaml.Node]]) -> Any:
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        for node in find_names(root):
            _keep_names(node)
        return loader.construct_document(root)
    except ValueError as error:  # of chr() in an escape, or of int() in a %YAML directive
        problem = 'an escape of no character' if 'chr' in str(error) else 'too many digits'
        raise yaml.constructor.ConstructorError(
            problem=problem, problem_mark=loader.get_mark()
        ) from error
    finally:
        loader.dispose()


def _values_at(node: yaml.Node, path: tuple[str, ...]) -> list[yaml.Node]:
    """Return the values that keys of mappings in each other lead to; ``*`` is any key."""
    if not path:
        return [node]
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    inner = [value for key, value in pairs if path[0] in ('*', key.value)]
    return [found for each in inner for found in _values_at(each, path[1:])]


def _problem(what: str, place: yaml.Node | yaml.Event) -> yaml.constructor.ConstructorError:
    mark: Any = place.start_mark  # never of libyaml, which is not used
    return yaml.constructor.ConstructorError(problem=what, problem_mark=mark)


def _children(node: yaml.Node) -> list[yaml.Node]:
    """Return the items of a list, or the keys and values of a mapping."""
    if isinstance(node, yaml.MappingNode):
        return [each for pair in node.value for each in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _keep_names(node: yaml.Node) -> None:
    """Turn the items of a list, or the keys of a mapping, into texts."""
    items = node.value if isinstance(node, yaml.SequenceNode | yaml.MappingNode) else ()
    for item in items:
        name = item[0] if isinstance(node, yaml.MappingNode) else item
        if isinstance(name, yaml.ScalarNode):
            name.tag = _TEXT
