"""Find annotation files and read them, whatever tool they are from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common import files
from common.errors import UserError
from common.process_map import map_samples
from common.reading import json_text
from datasets.info import DataError
from datasets.preparation.polygons import coco, cvat, labelme
from datasets.preparation.polygons.annotations import Annotation
from datasets.readers import folder_files
from datasets.readers.coco_files import MAX_ANNOTATION_BYTES


@dataclass(frozen=True)
class Read:
    """What annotation files contain.

    Attributes:
        annotations: The annotations, in the order of the files.
        declared: Names of classes in the order in which files declare them, for those that do.
        problems: A line for each file that cannot be used.
    """

    annotations: list[Annotation]
    declared: list[str]
    problems: list[str]


def read_all(named: Sequence[Path], processes: int) -> Read:
    """Read files and all files in folders.

    Args:
        named: Files and folders that the user has named.
        processes: Number of worker processes.

    Raises:
        UserError: There are no files, or none can be used.
    """
    result = Read([], [], [])
    for found in map_samples(_files(named), _read_one, processes, 'reading'):
        if isinstance(found, str):
            result.problems.append(found)
        else:
            result.annotations.extend(found[0])
            result.declared.extend(found[1])
    if not result.annotations:
        raise DataError(result.problems[0])
    return result


def _files(named: Sequence[Path]) -> list[Path]:
    """Return the annotation files, sorted within each folder."""
    found: list[Path] = []
    for path in named:
        path = files.expanded(path, 'write the full path')
        kind = files.kind_of(path)
        if kind is None:
            raise DataError(f'{path}: no such file or folder; name the annotations')
        inside = _files_below(path) if kind == 'folder' else [path]
        if not inside:
            raise DataError(f'{path}: has no annotations, files that end in .json or .xml')
        found += inside
    return list(dict.fromkeys(found))


def _files_below(top: Path) -> list[Path]:
    return [
        Path(place, name)
        for place, _, names in files.walk(top)
        for name in sorted(names)
        if name.lower().endswith(folder_files.ANNOTATIONS) and not name.startswith('.')
    ]


def _read_one(paths: Sequence[Path], index: int) -> tuple[list[Annotation], list[str]] | str:
    """Return annotations and declared names of a file, or a line that describes the problem."""
    try:
        return read_file(paths[index])
    except UserError as error:
        return str(error)


def read_file(path: Path) -> tuple[list[Annotation], list[str]]:
    """Return the annotations in a file, and the classes that it declares, in their order.

    Raises:
        UserError: The file is not an annotation file of a known tool.
    """
    if path.suffix.lower() == '.xml':
        return cvat.read(path)
    content = json_text.read(path, dict, MAX_ANNOTATION_BYTES, unique_keys=False)
    if coco.is_coco(content):
        return coco.from_content(content, path)
    if labelme.is_labelme(content):
        return [labelme.from_content(content, path)], []
    raise DataError(
        f'{path}: neither an annotation of LabelMe (with shapes) nor of COCO (with images and '
        'annotations); name the files of one of them, or XML of CVAT'
    )
