"""List files: an image and a label a line, as DDRNet, HRNet and SegNet publish them."""

from pathlib import Path

from datasets.dataset import Sample
from datasets.info import DataError


def read_list(path: Path, root: Path) -> list[Sample]:
    """The samples of a list file; paths in it are absolute or relative to ``root``.

    Separators are white space, tabs, or a comma. A line with one path is an image without a label.
    Raises ``DataError`` for a file that is missing or a line that is not understood.
    """
    try:
        lines = path.read_text(encoding='utf-8').splitlines()
    except OSError as error:
        raise DataError(f'{path}: cannot be read ({error.strerror})') from error
    samples = []
    for number, line in enumerate(lines, 1):
        parts = line.replace(',', ' ').split()
        if not parts:
            continue
        if len(parts) > 2:
            raise DataError(f'{path}, line {number}: {len(parts)} columns instead of image, label')
        image, label = root / parts[0], root / parts[1] if len(parts) == 2 else None
        for file in (image, label):
            if file is not None and not file.is_file():
                raise DataError(f'{path}, line {number}: no such file: {file}')
        samples.append(Sample(str(Path(parts[0]).with_suffix('')), image, label))
    return samples
