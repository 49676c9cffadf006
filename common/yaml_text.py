"""Read YAML text that people write: duplicate keys are errors, and names stay as written."""

from collections.abc import Callable, Collection, Hashable
from typing import Any

import yaml

_TEXT = 'tag:yaml.org,2002:str'


class _Loader(yaml.SafeLoader):
    """A safe YAML loader that rejects duplicate keys; PyYAML silently uses the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = []
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f'duplicate key {key}', problem_mark=key_node.start_mark
                )
            seen.append(key)
        return super().construct_mapping(node, deep)


def parse(text: str, name_keys: Collection[str] = ()) -> Any:
    """Return the plain values of a YAML text.

    Args:
        text: The text.
        name_keys: Keys of the outermost mapping whose values are names, see :func:`parse_names`.

    Raises:
        yaml.YAMLError: The text is not valid YAML, or a mapping has a key twice.
    """

    def values_of_names(root: yaml.Node) -> list[yaml.Node]:
        pairs = root.value if isinstance(root, yaml.MappingNode) else ()
        return [value for key, value in pairs if key.value in name_keys]

    return _load(text, values_of_names)


def parse_names(text: str) -> Any:
    """Return the names in a YAML text: the items of a list, or the keys of a mapping, as written.

    YAML 1.1 reads ``no``, ``off``, ``null``, ``1.0`` or ``2024-05-01`` as other values than text.

    Raises:
        yaml.YAMLError: As for :func:`parse`.
    """
    return _load(text, lambda root: [root])


def problem(error: yaml.YAMLError) -> str:
    """Return what is wrong with a text, to follow its name: `` in line 3: duplicate key a``."""
    what = getattr(error, 'problem', None) or str(error)
    mark = getattr(error, 'problem_mark', None)
    return f'{f" in line {mark.line + 1}" if mark else ""}: {what}'


def _load(text: str, find_names: Callable[[yaml.Node], list[yaml.Node]]) -> Any:
    """Return the values of a text; ``find_names`` selects the nodes that contain names."""
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        for node in find_names(root):
            _keep_names(node)
        return loader.construct_document(root)
    except RecursionError as error:
        raise yaml.YAMLError('it is nested too deeply') from error
    except ValueError as error:  # such as a date with month 13
        raise yaml.YAMLError(str(error)) from error
    finally:
        loader.dispose()


def _keep_names(node: yaml.Node) -> None:
    """Turn the items of a list, or the keys of a mapping, into texts."""
    items = node.value if isinstance(node, yaml.SequenceNode | yaml.MappingNode) else ()
    for item in items:
        name = item[0] if isinstance(node, yaml.MappingNode) else item
        if isinstance(name, yaml.ScalarNode):
            name.tag = _TEXT
