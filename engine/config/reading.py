"""Find and read the YAML files of a config: inheritance, paths, and the own weights of a run."""

import difflib
import os
from pathlib import Path
from typing import Any

import yaml

from common import PROJECT, files, once, text_files, yaml_text
from common.errors import UserError
from engine.config import class_count
from engine.runs.run_folder import CONFIG_NAME, RunFolder

BASE_KEY = '_base_'
WEIGHTS_KEY = 'weights'
PATH_KEYS = (WEIGHTS_KEY, 'pretrained', 'data_dir')  # keys whose values are paths
NAME_KEYS = ('classes',)  # keys whose values are names, taken as written
Origins = dict[str, Path | str]  # by key, the file or the option that sets it


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


def read_file(path: Path, children: tuple[Path, ...]) -> tuple[dict[str, Any], Origins]:
    """Read a file and its bases.

    Args:
        path: The file.
        children: The files that inherit from it, to detect cycles.

    Returns:
        The merged values, and for each key the file that sets it.
    """
    if path in children:
        raise UserError(
            f'{path}: {BASE_KEY} forms a cycle through '
            + ', '.join(child.name for child in children)
        )
    own = parse(text_files.read_text(path), path)
    if not isinstance(own, dict):
        raise UserError(f'{path}: a config must consist of "key: value" lines')
    values: dict[str, Any] = {}
    origins: Origins = {}
    bases = own.pop(BASE_KEY, None) or []
    for base in bases if isinstance(bases, list) else [bases]:
        if not isinstance(base, str):
            raise UserError(f'{path}: {BASE_KEY} must name a file, not {base!r}')
        named = path.parent / base
        base_file = _file_of(named)
        if base_file is None:
            lacks = f'no {CONFIG_NAME} in' if files.kind_of(named) == 'folder' else 'no'
            raise UserError(f'{path}: {BASE_KEY} names {base}, but there is {lacks} {named}')
        inherited, inherited_origins = read_file(base_file, (*children, path))
        values |= inherited
        origins |= inherited_origins
    resolve_paths(own, path.parent)
    run = RunFolder.of_config(path)
    if run is not None:
        _resolve_own_weights(run, own, path)
    own |= class_count.implied(own, values, origins)
    return values | own, origins | dict.fromkeys(own, path)


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


def resolve_paths(values: dict[str, Any], folder: Path) -> None:
    """Make the paths among values absolute, so that a run's config keeps their meaning.

    Args:
        values: Unchecked values by key, to change.
        folder: Folder that the paths are relative to. A bare name that is not in it is that of a
            file or folder in the working directory, or else unchanged, because it may be the name
            of a published file.
    """
    for key in PATH_KEYS:
        path = values.get(key)
        if not isinstance(path, str):
            continue
        here = Path(path).expanduser()
        beside = folder / here
        if here.is_absolute():
            values[key] = str(here)  # also a link, whose target can change
        elif files.kind_of(beside) or os.sep in path:
            values[key] = str(beside.resolve())
        elif files.kind_of(here):
            values[key] = str(here.resolve())


def parse(text: str, source: Path | str, key: str | None = None) -> Any:
    """Parse a config file, or the value of one key.

    Args:
        text: The YAML text.
        source: The file or the option that contains it, for the message.
        key: The key whose value the text is; None for the text of a file.

    Raises:
        UserError: The text is not valid YAML.
    """
    try:
        if key in NAME_KEYS:
            return yaml_text.parse_names(text)
        return yaml_text.parse(text, NAME_KEYS if key is None else ())
    except yaml.YAMLError as error:
        raise UserError(f'{source}: not valid YAML{yaml_text.problem(error)}') from error
