"""Your own data: a folder of images, a folder of labels, and ``dataset.yaml`` beside them.

    classes: {road: [128, 64, 128], car: [0, 0, 142]}   # names and colours, or a list of names
    ignore: [254, [0, 0, 0]]       # values or colours of ignored pixels
    images: images                 # folders; these are the defaults
    labels: labels
    label_suffix: _L               # follows the image's name in label files; default: none
    label_format: colours          # or indices; default: detected for each file

Only ``classes`` is required. A label file is a PNG of class indices, in the order of ``classes``,
with 255 for ignored pixels, or of the classes' colours; :mod:`datasets.readers.folder_decoder` says
how the format is detected. Splits are folders ``images/train``, ``labels/train`` and so on, or
lists ``train.txt``, ``val.txt`` and ``test.txt`` in the root with the name of an image per line.
Without either, all images form the split ``train``. Images and labels may share a folder if they
differ in suffix or file extension.
"""

from pathlib import Path

from datasets.dataset import Sample
from datasets.info import DatasetInfo, distinct_colours
from datasets.readers import folder_description, layout
from datasets.readers.folder_decoder import Decoder
from datasets.readers.folder_description import DESCRIPTION_FILE

SPLITS = ('train', 'val', 'test')
# Files that are not read as labels, but named as such if there is no PNG.
_NO_LABELS = (
    '.jpg', '.jpeg', '.jpe', '.jfif', '.webp', '.bmp', '.gif', '.tif', '.tiff', '.npy', '.mat'
)  # fmt: skip
INFO = DatasetInfo(
    'folder',
    (),
    (),
    splits=SPLITS,
    layout=f'{DESCRIPTION_FILE} with classes, images/ and labels/ (*.png) of equal names, with a '
    'folder per split or lists train.txt, val.txt',
    source='datasets/readers/folder.py shows an example of the file.',
    marks=(DESCRIPTION_FILE,),
)


def info(root: Path) -> DatasetInfo:
    """Return the facts about the data in a folder; raises ``DataError``."""
    description = folder_description.read(root)
    names = description.classes
    return DatasetInfo(
        'folder', names, description.colours or distinct_colours(len(names)), SPLITS, INFO.layout
    )


def decoder(root: Path) -> Decoder:
    """Return the decoder for the label files of a folder; raises ``DataError``."""
    return Decoder(folder_description.read(root))


def find(root: Path, split: str) -> list[Sample]:
    """Return the samples of a split; in the test split labels are optional."""
    description = folder_description.read(root)
    images, labels = root / description.images, root / description.labels
    if any((images / name).is_dir() for name in SPLITS):
        return _pairs(images / split, labels / split, description.label_suffix, split)
    samples = _pairs(images, labels, description.label_suffix, split)
    lists = [root / f'{name}.txt' for name in SPLITS]
    if any(path.is_file() for path in lists):
        names = root / f'{split}.txt'
        return layout.select_listed(samples, names, _without_ending) if names.is_file() else []
    return samples if split == 'train' else []


def _pairs(images: Path, labels: Path, suffix: str, split: str) -> list[Sample]:
    found, known = _images(images, labels, suffix), layout.listing(labels, layout.PNG, suffix)
    if images != labels:
        others = layout.listing(labels, _NO_LABELS, suffix)
        known = {name: others[name] for name in others if name in found} | known
    if split == 'test':
        return [Sample(name, path, known.get(name)) for name, path in found.items()]
    return layout.pair(found, known, lambda name: labels / f'{name}{suffix}.png')


def _images(images: Path, labels: Path, suffix: str) -> dict[str, Path]:
    """Return the images by name, without the labels if these are in the same folder."""
    if images != labels:
        return layout.listing(images, layout.IMAGES)
    if suffix:
        known = layout.listing(labels, layout.PNG, suffix).values()
        return {
            name: path
            for name, path in layout.listing(images, layout.IMAGES).items()
            if path not in known
        }
    return layout.listing(images, tuple(set(layout.IMAGES) - set(layout.PNG)))


def _without_ending(line: str) -> str:
    path = Path(line)
    return path.stem if path.suffix.lower() in layout.IMAGES else line
