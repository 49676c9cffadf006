"""ADE20K32: the ADE20K of TI's EdgeAI-Lite networks, reduced to background and 31 classes.

Label values 0 to 31 stay and values 32 to 150 become 0, background, which is an ordinary class: no
pixel is ignored. TexasInstruments/edgeai-torchvision, commit
f85ec314af3813e12dd45db49eb6ab1dcb500ed5, references/edgeailite/edgeai_xvision/xvision/datasets/
ade20k.py.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from datasets.readers import ade20k, label_files

NUM_CLASSES = 32
INFO = replace(
    ade20k.INFO,
    name='ade20k32',
    classes=('background', *ade20k.INFO.classes[: NUM_CLASSES - 1]),
    source='To download it: python -m datasets.prepare ade20k32 --download',
    palette=((0, 0, 0), *ade20k.INFO.palette[: NUM_CLASSES - 1]),
)
_LAST_VALUE = len(ade20k.INFO.classes)
_MEANINGS = label_files.values_table(
    {value: value if value < NUM_CLASSES else 0 for value in range(_LAST_VALUE + 1)}
)
PREPARATION = ade20k.PREPARATION
find = ade20k.find


def decode(path: Path) -> np.ndarray:
    """Return class indices, (H, W) uint8, none ignored; raises ``InputError``."""
    return label_files.translate(label_files.read_indices(path), _MEANINGS, path)
