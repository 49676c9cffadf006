"""Find and read the YAML files of a config: inheritance, paths, and the own weights of a run."""

import difflib
import os
from pathlib import Path
from typing import Any

from common import PROJECT, files, once
from common.errors import UserError
from common.reading import yaml_text
from common.terminal.name_list import first_names
from common.terminal.short_repr import short_repr, short_text
from engine.config.config import Origins
from engine.config.implied import implied
from engine.config.published_score import BLOCK_KEY
from engine.runs.run_folder import CONFIG_NAME, RunFolder

BASE_KEY = '_base_'
WEIGHTS_KEY = 'weights'
PATH_KEYS = (WEIGHTS_KEY, 'pretrained', 'data_dir')  # keys whose values are paths
NAME_KEYS = ('classes',)  # keys whose values are names, taken as written
MAX_FILES = 100  # a config and its bases
Layer = tuple[dict[str, Any], Origins]


def find_file(path: str | os.PathLike[str]) -> Path:
    """Find a config file; if there is none, raise ``UserError`` with the nearest names."""
    for candidate in (Path(path), PROJECT / path):
        found = _file_of(candidate)
        if found is not None:
            return found
    if files.kind_of(Path(path)) == 'folder':
        raise UserError(
            f'{path}: this folder has no {CONFIG_NAME}; name a config file, or the folder of a run '
            'of train.py'
        )
    if os.path.exists(path):
        raise UserError(f'{path}: is a pipe or a device; name a config file')
    there = {p.stem.lower(): f'configs/{p.name}' for p in (PROJECT / 'configs').glob('*.yaml')}
    close = difflib.get_close_matches(Path(path).stem.lower(), there, n=3, cutoff=0.6)
    named = [there[name] for name in close]
    if named:
        raise UserError(f'{path}: no such config; the nearest are {", ".join(named)}')
    one_a_project = {name[:3]: there[name] for name in sorted(there, reverse=True)}
    some = ', '.join(sorted(one_a_project.values()))
    raise UserError(f'{path}: no such config; available are {some} and others')


def _file_of(path: Path) -> Path | None:
    """Return the config that a file, or a folder such as that of a run, is; None for neither."""
    kind = files.kind_of(path)
    if kind == 'folder':
        path = path / CONFIG_NAME
        kind = files.kind_of(path)
    return path.resolve() if kind == 'file' else None


def read_file(path: Path) -> tuple[dict[str, Any], Origins]:
    """Read a file and its bases.

    Returns:
        The merged values, and for each key the file that sets it. A published score among them is
        that of the file itself, never that of a base.

    Raises:
        UserError: A file is missing or no config, or the bases form a cycle or are too many.
    """
    return _read_file(path, (), {})


def _read_file(path: Path, children: tuple[Path, ...], known: dict[Path, Layer]) -> Layer:
    """Read a file and its bases, each once.

    Args:
        path: The file.
        children: The files that inherit from it, to detect cycles.
        known: What was read before, by file, to extend.
    """
    if path in known:
        return known[path]
    if path in children:
        raise UserError(
            f'{path}: {BASE_KEY} forms a cycle through '
            + first_names([child.name for child in children])
        )
    if len(known) + len(children) >= MAX_FILES:
        raise UserError(
            f'{(*children, path)[0]}: inherits from more than {MAX_FILES} files by {BASE_KEY}'
        )
    own = yaml_text.read(path, NAME_KEYS)
    if not isinstance(own, dict):
        raise UserError(f'{path}: a config must consist of "key: value" lines')
    values: dict[str, Any] = {}
    origins: Origins = {}
    bases = own.pop(BASE_KEY, None) or []
    for base in bases if isinstance(bases, list) else [bases]:
        if not isinstance(base, str):
            raise UserError(f'{path}: {BASE_KEY} must name a file, not {short_repr(base)}')
        base_file = _base_file(base, path)
        inherited, inherited_origins = _read_file(base_file, (*children, path), known)
        values |= {key: value for key, value in inherited.items() if key != BLOCK_KEY}
        origins |= inherited_origins
    resolve_paths(own, path.parent, path)
    run = RunFolder.of_config(path)
    if run is not None:
        _resolve_own_weights(run, own, path)
    own |= implied(own, values, origins)
    known[path] = values | own, origins | dict.fromkeys(own, path)
    return known[path]


def _base_file(base: str, path: Path) -> Path:
    """Return the base that a config names; raise ``UserError`` if there is none."""
    named = path.parent / base
    try:
        found, kind = _file_of(named), files.kind_of(named)
    except UserError as error:
        raise UserError(f'{path}: {BASE_KEY} names {short_text(base)}, but {error}') from error
    if found is None:
        lacks = f'no {CONFIG_NAME} in' if kind == 'folder' else 'no'
        odd = kind is None and os.path.exists(named)
        problem = 'it is a pipe or a device' if odd else f'there is {lacks} {named}'
        raise UserError(f'{path}: {BASE_KEY} names {short_text(base)}, but {problem}')
    return found


def _resolve_own_weights(run: RunFolder, own: dict[str, Any], path: Path) -> None:
    """Set the key ``weights`` of a run's config to the run's own weights.

    The configs of older versions contain the ``weights`` of the config that the run started from,
    which are of another training. A file in the run's folder is the user's choice.

    Args:
        run: The run.
        own: The values of its config, to change.
        path: The file, for the warning.
    """
    named = own.get(WEIGHTS_KEY)
    if isinstance(named, str) and Path(named).parent == run.path:
        return
    chosen = run.own_weights()
    own[WEIGHTS_KEY] = None if chosen is None else str(chosen)
    if named:
        once.warn(
            f'weights of {path}',
            f'{path}: its weights, {named}, are not of this run and are ignored; -m selects them',
        )


def resolve_paths(values: dict[str, Any], folder: Path, source: Path | str) -> None:
    """Make the paths among values absolute, so that a run's config keeps their meaning.

    Args:
        values: Unchecked values by key, to change.
        folder: Folder that the paths are relative to. A bare name that is not in it is that of a
            file or folder in the working directory, or else unchanged, because it may be the name
            of a published file.
        source: The file or the option that sets them, for messages.

    Raises:
        UserError: A path cannot be examined.
    """
    for key in PATH_KEYS:
        path = values.get(key)
        if isinstance(path, str):
            try:
                values[key] = _resolved(path, folder)
            except UserError as error:
                raise UserError(f'{key}: {error} ({source})') from error


def _resolved(path: str, folder: Path) -> str:
    """Return a path as :func:`resolve_paths` describes it."""
    here = files.expanded(path, 'write the full path')
    beside = folder / here
    if here.is_absolute():
        return str(here)  # also a link, whose target can change
    if files.kind_of(beside) or os.sep in path:
        return str(beside.resolve())
    return str(here.resolve()) if files.kind_of(here) else path


def parse_value(text: str, source: str, key: str) -> Any:
    """Parse the value of one key.

    Args:
        text: The YAML text.
        source: The option that contains it, for the message.
        key: The key.

    Raises:
        YamlError: The text is not valid YAML.
    """
    if key in NAME_KEYS:
        return yaml_text.parse_names(text, source)
    return yaml_text.parse(text, source)
