"""The samples and the archive of the data set that own_stripes.py registers."""

import cv2
import numpy as np

from support import data_server
from support.programs import PROJECT

OWN_STRIPES = PROJECT / 'tests' / 'support' / 'own_stripes.py'
OWN_MIDDLE = PROJECT / 'tests' / 'support' / 'own_middle.py'
HEIGHT, WIDTH = 12, 20
SPLITS = ('train',) * 4 + ('val',) * 2  # split of every sample


def truth(index):
    """Return a label map whose rows have the classes 0, 1 and 2 in turn, two rows each.

    The class of the first row depends on the sample. The last row is ignored.
    """
    labels = ((np.arange(HEIGHT) + index) // 2 % 3).astype(np.uint8)
    labels[-1] = 255
    return labels[:, None].repeat(WIDTH, 1)


def picture(index):
    """Return a seeded image of noise, (H, W, 3) uint8, BGR."""
    return np.random.RandomState(index).randint(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def archive():
    """Return the zip archive that the data set downloads."""
    members = {}
    for index, split in enumerate(SPLITS):
        place = f'stripes-1.0/{split}/{index}'
        values = np.array([0, 100, 200] + [1] * 253, np.uint8)[truth(index)]
        for name, array in ((f'{place}.png', picture(index)), (f'{place}_values.png', values)):
            members[name] = cv2.imencode('.png', array)[1].tobytes()
    return data_server.zipped(members)
