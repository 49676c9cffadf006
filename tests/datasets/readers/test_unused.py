"""Files that readers of published data sets do not use: all of them are told."""

import shutil

import pytest

import datasets
from datasets.readers.trees import ELSEWHERE
from datasets.samples import NO_IMAGE, NOT_LISTED, NOT_READ

SAMPLES = {
    'cityscapes': 'samples/cityscapes_256x128',
    'ade20k': 'samples/ADEChallengeData2016',
    'voc': 'samples/VOCdevkit/VOC2012',
    'cocostuff164k': 'samples/cocostuff164k',
    'cocostuff10k': 'samples/cocostuff10k_from164k',
    'cocoseg21': 'samples/coco_instances',
}
# Files that are added to the folders of val, and why they are not used.
ADDED = {
    'cityscapes': {
        'leftImg8bit/val/frankfurt/x_leftImg8bit.tif': NOT_READ,
        'leftImg8bit/val/frankfurt/more/y_leftImg8bit.png': ELSEWHERE,
        'leftImg8bit/val/z_leftImg8bit.png': ELSEWHERE,
        'gtFine/val/lindau/a_gtFine_labelIds.png': NO_IMAGE,
    },
    'ade20k': {
        'images/validation/x.heic': NOT_READ,
        'images/validation/a/y.jpg': ELSEWHERE,
        'annotations/validation/z.png': NO_IMAGE,
    },
    'voc': {},
    'cocostuff164k': {
        'images/val2017/x/y.jpg': ELSEWHERE,
        'annotations/val2017/z.png': NO_IMAGE,
    },
    'cocostuff10k': {},
    'cocoseg21': {'val2017/x.jpg': 'its classes cover at most 1000 pixels'},
}


@pytest.fixture
def copied(shared, tmp_path):
    """Function that copies the samples of a data set and returns its root."""

    def copy(name):
        shutil.copytree(shared / 'data' / SAMPLES[name], tmp_path / name)
        return tmp_path / name

    return copy


@pytest.mark.parametrize('name', SAMPLES)
def test_files_beside_the_samples_are_told(name, copied):
    root = copied(name)
    before = datasets.open(name, root, 'val')
    assert before.unused == ()
    for added in ADDED[name]:
        (root / added).parent.mkdir(exist_ok=True, parents=True)
        (root / added).touch()
    dataset = datasets.open(name, root, 'val')
    assert dataset.samples == before.samples
    found = {file.path.relative_to(root).as_posix(): file.reason for file in dataset.unused}
    assert found == ADDED[name]


@pytest.mark.parametrize(
    ('name', 'lists', 'image'),
    [
        ('voc', 'ImageSets/Segmentation/val.txt', 'JPEGImages/{}.jpg'),
        ('cocostuff10k', 'imageLists/test.txt', 'images/{}.jpg'),
    ],
)
def test_pairs_in_no_list_are_told(name, lists, image, copied):
    """Images in the list of another split, and photographs without a label, are none of them."""
    root = copied(name)
    first, *others = (root / lists).read_text().split()
    (root / lists).write_text('\n'.join(others))
    shutil.copy(root / image.format(first), root / image.format('unlabelled'))
    for split in ('train', 'val'):
        (file,) = datasets.open(name, root, split).unused
        assert (file.path, file.reason) == (root / image.format(first), NOT_LISTED)


def test_frames_outside_the_list_of_cityscapes_are_told(copied):
    root = copied('cityscapes')
    (frame,) = (root / 'leftImg8bit/val/frankfurt').iterdir()
    for kind, end in (('leftImg8bit', 'leftImg8bit'), ('gtFine', 'gtFine_labelIds')):
        source = root / kind / 'val/frankfurt' / frame.name.replace('leftImg8bit', end)
        shutil.copy(source, source.with_name(f'frankfurt_000009_000009_{end}.png'))
    (root / 'val.txt').write_text('frankfurt\\frankfurt_000000_000294\r\n')
    dataset = datasets.open('cityscapes', root, 'val')
    assert dataset.describe() == (
        '1 pair; 1 not used: '
        'leftImg8bit/val/frankfurt/frankfurt_000009_000009_leftImg8bit.png (in no list)'
    )
