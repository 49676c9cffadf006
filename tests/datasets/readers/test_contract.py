"""The contract of readers: the archives that they declare."""

import datasets
from datasets.registry import preparation

DOWNLOADABLE = [name for name in datasets.names() if preparation(name).archives]


def test_addresses_and_digests_of_archives_are_well_formed():
    assert not {'cityscapes', 'camvid', 'folder'} & {*DOWNLOADABLE}
    coco = {'cocostuff164k', 'cocostuff10k', 'cocoseg21'}
    assert {'ade20k', 'ade20k32', 'voc'} | coco <= {*DOWNLOADABLE}
    for name in DOWNLOADABLE:
        for archive in datasets.reader(name).PREPARATION.archives:
            assert all(url.endswith('/' + archive.file) for url in archive.urls)
            digits = {'sha1': 40, 'md5': 32}
            assert archive.digest is None or len(archive.digest[1]) == digits[archive.digest[0]]


def test_archives_have_their_published_digests():
    """The archives of COCO-Stuff have none."""
    published = {
        archive.file: archive.digest and archive.digest[0]
        for name in DOWNLOADABLE
        for archive in datasets.reader(name).PREPARATION.archives
    }
    assert published == {
        'ADEChallengeData2016.zip': 'sha1',
        'release_test.zip': 'sha1',
        'VOCtrainval_11-May-2012.tar': 'md5',
        'train2017.zip': 'sha1',
        'val2017.zip': 'sha1',
        'annotations_trainval2017.zip': 'sha1',
        'stuffthingmaps_trainval2017.zip': None,
        'cocostuff-10k-v1.1.zip': None,
    }
