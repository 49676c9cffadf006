"""The loader: the content of its batches, slices for ranks, and resuming at a position."""

import json
from collections import Counter

import numpy as np
import pytest

from common.errors import UserError
from datasets.dataset import Dataset
from datasets.loading.augmentations import ScaleCrop, ShortSides
from support.numbered_dataset import (
    COUNT,
    equal,
    has_exited,
    load,
    members,
    take,
    worker_pids,
    write_dataset,
)


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp('data'))


def test_batches_have_the_documented_shapes_and_types(dataset):
    with load(dataset, workers=0) as loader:
        images, labels = next(iter(loader))
    assert (images.shape, images.dtype) == ((3, 3, 24, 32), np.float32)
    assert (labels.shape, labels.dtype) == ((3, 1, 24, 32), np.int32)
    assert set(np.unique(labels)) <= {-1, *range(COUNT)}


def test_batches_do_not_depend_on_the_number_of_workers(dataset):
    """All batches are kept: none may be overwritten while the caller holds it."""
    batches, pids = {}, []
    for workers in (0, 2):
        with load(dataset, workers=workers, seed=5) as loader:
            batches[workers] = take(loader, 9)
            pids += worker_pids(loader) if workers else []
    assert len(pids) == 2 and all(map(has_exited, pids)), 'closing must stop all workers'
    assert equal(batches[0], batches[2])
    with load(dataset, workers=0, seed=6) as loader:
        assert not equal(batches[0], take(loader, 9))


def test_augmentation_differs_between_epochs_and_samples(dataset):
    """One file under ten names gives ten different pictures in each of two epochs."""
    same = Dataset(dataset.info, 'train', dataset.samples[:1] * 10, dataset.decode)
    with load(same, batch_size=10, workers=0) as loader:
        pictures = [image.tobytes() for images, _ in take(loader, 2) for image in images]
    assert len(set(pictures)) == 20


def test_slices_are_disjoint_and_report_their_position(dataset):
    with load(dataset, batch_size=2, workers=0) as whole:
        slices = [whole.slice(None, num_of_slices=2, slice_pos=rank) for rank in range(2)]
    epoch = [members(loader.next()[1]) for _ in range(3) for loader in slices]
    assert sorted(sum(epoch[:5], [])) == list(range(COUNT))
    for loader in slices:
        assert (loader.size, loader.batch_size, loader.epoch, loader.position) == (5, 2, 1, 1)
    for bad in ({'num_of_slices': 2, 'slice_pos': 2}, {'num_of_slices': 0}):
        with pytest.raises(UserError, match='slice_pos must be'):
            whole.slice(**bad)
    with pytest.raises(UserError, match='cannot be sliced'):
        slices[0].slice(num_of_slices=2, slice_pos=0)


@pytest.mark.parametrize('workers', [0, 1])
def test_a_resumed_loader_gives_identical_batches(dataset, workers):
    """The state is taken within an epoch, while the worker is ahead, and stored as JSON.

    ``reset`` returns to the first batch.
    """
    with load(dataset, workers=workers) as loader:
        first = take(loader, 5)
        state = json.loads(json.dumps(loader.state_dict()))
        assert (loader.epoch, loader.position) == (1, 5)
        following = take(loader, 4)
        loader.load_state_dict(state)
        assert equal(take(loader, 4), following)
        loader.reset()
        assert equal(take(loader, 5), first)
    with load(dataset, workers=0) as other:
        other.load_state_dict(state)
        assert equal(take(other, 4), following)


@pytest.mark.parametrize(
    'options, message',
    [
        ({'batch_size': 5}, 'batch_size 3, now it is 5'),
        ({'seed': 9}, 'seed 0, now it is 9'),
        ({'shuffle': False}, 'shuffle True, now it is False'),
        ({'transform': ShortSides((16,), 36)}, 'by_aspect False, now it is True'),
    ],
)
def test_the_state_of_another_loader_is_refused(dataset, options, message):
    with load(dataset, workers=0) as loader, load(dataset, workers=0, **options) as other:
        loader.next()
        with pytest.raises(UserError, match=message):
            other.load_state_dict(loader.state_dict())
        fewer = Dataset(dataset.info, 'train', dataset.samples[:9], dataset.decode)
        with load(fewer, workers=0) as other, pytest.raises(UserError, match='samples 10, now'):
            other.load_state_dict(loader.state_dict())
        half = loader.slice(num_of_slices=2)
        with pytest.raises(UserError, match='slices 1, now it is 2'):
            half.load_state_dict(loader.state_dict())
        half.load_state_dict(loader.slice(num_of_slices=2, slice_pos=1).state_dict())


def test_batches_by_aspect_have_the_size_of_their_largest_image(tmp_path):
    """With short sides, a batch contains only portraits or only landscapes."""
    dataset = write_dataset(tmp_path, size=lambda i: (60, 40) if i % 3 == 0 else (40, 50 + 2 * i))
    transform = ShortSides((16, 24), longest=36, divisor=8)
    with load(dataset, transform, batch_size=2, workers=1) as loader:
        batches = take(loader, 6)
        state = loader.state_dict()
        following = take(loader, 6)
    assert len({images.shape for images, _ in batches}) > 1
    for images, labels in batches:
        height, width = labels.shape[2:]
        assert height % 8 == width % 8 == 0
        assert len({number % 3 == 0 for number in members(labels)}) == 1
        assert (height > width) == (members(labels)[0] % 3 == 0)
        assert (images[np.broadcast_to(labels == -1, images.shape)] == 0).all()
    seen = Counter(n for _, labels in [*batches, *following] for n in members(labels))
    assert max(seen.values()) - min(seen.values()) <= 2
    with load(dataset, transform, batch_size=2, workers=0) as loader:
        loader.load_state_dict(json.loads(json.dumps(state)))
        assert equal(take(loader, 6), following)


def test_all_batches_and_ranks_draw_their_own_length(dataset):
    """Every length occurs on both ranks, and the ranks draw differently."""
    lengths = (8, 16, 24, 32)
    whole = load(dataset, ShortSides(lengths, 60), batch_size=1, workers=0)
    heights = [
        [images.shape[2] for images, _ in take(whole.slice(None, 2, rank), 20)] for rank in range(2)
    ]
    assert set(heights[0]) == set(heights[1]) == set(lengths)
    assert heights[0] != heights[1]


@pytest.mark.parametrize('pad_label, value', [(255, -1), (0, 0)])
def test_images_are_padded_with_the_mean_and_labels_with_pad_label(dataset, pad_label, value):
    """Labels are ignored by default, or class 0 as in the published code."""
    transform = ScaleCrop((64, 64), scale=(1, 1), flip=0, pad_label=pad_label)
    with load(dataset, transform, workers=0) as loader:
        images, labels = loader.next()
    assert (labels[:, :, 40:] == value).all() and (labels[..., 60:] == value).all()
    assert (images[:, :, 40:] == 0).all() and (images[..., 60:] == 0).all()
    assert (labels[:, :, :40, :60] == labels[:, :, :1, :1]).all()


def test_bad_settings_are_refused(dataset):
    for options in ({'batch_size': 0}, {'workers': -1}, {'prefetch': 0}):
        with pytest.raises(UserError, match='must be at least'):
            load(dataset, **options)
    with pytest.raises(UserError, match='pad_label: must be a class, 0 to 9, or 255'):
        load(dataset, ScaleCrop((24, 32), pad_label=COUNT))
    with pytest.raises(UserError, match='is empty'):
        load(Dataset(dataset.info, 'train', (), dataset.decode))
