"""The genuine files of data sets in the reference material."""

GENUINE = {  # samples of every split by name and folder below data/
    ('cityscapes', 'samples/cityscapes'): {'train': 3, 'val': 2, 'trainval': 5},
    ('cityscapes', 'samples/cityscapes_256x128'): {'val': 1},
    ('camvid', 'camvid'): {'train': 36, 'val': 18, 'test': 233, 'trainval': 54},
    ('ade20k', 'samples/ADEChallengeData2016'): {'train': 1, 'val': 3, 'trainval': 4},
    ('ade20k32', 'samples/ADEChallengeData2016'): {'train': 1, 'val': 3, 'trainval': 4},
    ('voc', 'samples/VOCdevkit/VOC2012'): {'train': 8, 'trainaug': 8, 'val': 15, 'trainval': 23},
    ('cocostuff164k', 'samples/cocostuff164k'): {'train': 13, 'val': 8, 'trainval': 21},
    ('cocostuff10k', 'samples/cocostuff10k_from164k'): {'train': 3, 'val': 2, 'trainval': 5},
    ('cocoseg21', 'samples/coco_instances'): {'val': 2},
}
