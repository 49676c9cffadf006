"""Outputs near a data set: other splits, and folders whose content is read."""

from pathlib import Path

import pytest

import datasets
from common.errors import UserError
from common.writing.protected_files import ProtectedFiles
from datasets import protection


@pytest.fixture
def camvid(tmp_path):
    """CamVid in SegNet's edition, in a subfolder that the reader finds; opened for val."""
    for split in ('train', 'val', 'test'):
        for folder in (split, f'{split}annot'):
            path = tmp_path / 'data' / 'CamVid' / folder / f'{split}.png'
            path.parent.mkdir(parents=True)
            path.write_bytes(b'')
    root = tmp_path / 'data' / 'CamVid'
    return root, datasets.open('camvid', root, 'val')


def test_files_of_all_splits_are_protected(camvid):
    root, val = camvid
    protected = ProtectedFiles()
    protection.protect_dataset(protected, 'camvid', root, val.samples, root / 'own.txt')
    (root / 'own.txt').write_text('val/val.png valannot/val.png\n')
    (root / 'sheet.png').write_bytes(b'an older result')
    protected.claim('-o', root / 'sheet.png')
    for name, what in (
        ('val/val.png', 'an image of the data set'),
        ('valannot/val.png', 'a label of the data set'),
        ('train/train.png', 'a file of the data set'),
        ('testannot/test.png', 'a file of the data set'),
        ('own.txt', 'the list of the data set'),
    ):
        with pytest.raises(UserError, match=f'{name}: is {what} and would be overwritten'):
            protected.claim('-o', root / name)


def test_folders_of_the_data_take_no_results(camvid, tmp_path, monkeypatch):
    root, val = camvid
    (tmp_path / 'link').symlink_to(root / 'train')
    monkeypatch.chdir(root)

    def check(folder):
        protection.check_folder('-o', Path(folder), 'camvid', root, val.samples)

    for folder in ('.', root, root / 'train', 'valannot', 'testannot/new', tmp_path / 'link'):
        with pytest.raises(UserError, match='is a folder of the data set, whose files would be m'):
            check(folder)
    for folder in ('runs', 'runs/new', tmp_path, tmp_path / 'train', root.parent / 'new'):
        check(folder)
    for folder in (root.parent, root, root / 'train'):  # the reader finds the data below
        with pytest.raises(UserError, match='is a folder of the data set'):
            protection.check_folder('-o', folder, 'camvid', root.parent, val.samples)


def test_a_picture_among_the_images_is_refused(camvid):
    root, val = camvid
    for place in ('val', 'trainannot'):
        with pytest.raises(UserError, match='-o .*a.png: would be among the images or labels'):
            protection.check_picture('-o', root / place / 'a.png', 'camvid', root, val.samples)
    for path in (root / 'a.png', root / 'runs' / 'a.png'):
        protection.check_picture('-o', path, 'camvid', root, val.samples)


def test_images_outside_of_the_root_are_protected_where_they_are(tmp_path):
    """A list may name files anywhere; their folder takes no results, others beside it do."""
    sample = datasets.Sample('a', tmp_path / 'pictures' / 'a.png', tmp_path / 'masks' / 'a.png')
    root = tmp_path / 'none'
    for folder in ('pictures', 'masks'):
        with pytest.raises(UserError, match='is a folder of the data set'):
            protection.check_folder('-o', tmp_path / folder, 'camvid', root, [sample])
    for folder in ('runs', 'pictures/runs', ''):
        protection.check_folder('-o', tmp_path / folder, 'camvid', root, [sample])
