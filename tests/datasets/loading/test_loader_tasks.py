"""The loader with several pictures and tasks: all arrays of a scene get one view."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

import datasets
from common.errors import UserError
from datasets.loading import pack
from datasets.loading.augmentations import ResizeCrop, ScaleCrop, ShortSides
from datasets.loading.loader import Loader
from datasets.samples import SceneFiles
from support import scene_data

MEAN, STD = (128, 128, 128), (64, 64, 64)
EDGE = np.ones((5, 5), np.uint8)  # where colours mix with those outside of a turned image
TRANSFORMS = {
    'scale_crop': ScaleCrop((16, 24), distort=False),
    'resize_crop': ResizeCrop((16, 24), resize=(20, 30), rotation=10.0),
    'short_sides': ShortSides((16, 20), longest=40),
}


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('scenes')
    scene_data.write_folder(folder)
    return folder


def opened(root, wanted=scene_data.ALL):
    return datasets.open('folder', root, 'train', wanted=wanted)


def load(dataset, transform, **options):
    return Loader(dataset, transform, 2, MEAN, STD, **{'workers': 0, **options})


def eroded(mask):
    """Return a mask without the pixels near its edge and that of the array."""
    return cv2.erode(mask.astype(np.uint8), EDGE, borderValue=0).astype(bool)


def equal(one, other):
    (images, targets), (other_images, other_targets) = one, other
    return np.array_equal(images, other_images) and all(
        np.array_equal(targets[task], other_targets[task]) for task in targets | other_targets
    )


def test_batches_have_the_documented_shapes_and_types(root):
    with load(opened(root), TRANSFORMS['scale_crop']) as loader:
        images, targets = loader.next()
    assert (images.shape, images.dtype) == ((2, 6, 16, 24), np.float32)
    assert list(targets) == ['depth', 'segmentation', 'motion']
    assert {task: array.dtype for task, array in targets.items()} == {
        'depth': np.float32,
        'segmentation': np.int32,
        'motion': np.int32,
    }
    assert all(array.shape == (2, 1, 16, 24) for array in targets.values())


@pytest.mark.parametrize('name', TRANSFORMS)
def test_batches_do_not_depend_on_the_number_of_workers(root, name):
    """The loader resumes at a position with identical batches, too."""
    batches = {}
    for workers in (0, 2):
        with load(opened(root), TRANSFORMS[name], workers=workers, seed=3) as loader:
            batches[workers] = [loader.next() for _ in range(5)]
            if not workers:
                loader.reset()
                loader.next()
                state = json.loads(json.dumps(loader.state_dict()))
    assert all(map(equal, batches[0], batches[2]))
    with load(opened(root), TRANSFORMS[name], seed=3) as loader:
        loader.load_state_dict(state)
        assert all(equal(loader.next(), batch) for batch in batches[0][1:])


@pytest.mark.parametrize('name', TRANSFORMS)
def test_all_arrays_of_a_scene_get_one_view(tmp_path, name):
    """Every file shows the same ramp of columns, so every array of a batch shows it, too.

    Values are smooth, so interpolation keeps them; classes are stripes of the same ramp.
    """
    height, width = 24, 40
    ramp = np.arange(width)[None].repeat(height, 0)
    scene = {
        'image': np.dstack([ramp * 4] * 3).astype(np.uint8),
        'flow': np.dstack([ramp * 4, np.full_like(ramp, 128), ramp * 0 + 128]).astype(np.uint8),
        'label': (ramp // 8 % 3).astype(np.uint8),
        'depth': ramp + 1.0,
        'motion': (ramp // 20).astype(np.uint8),
    }
    (tmp_path / 'dataset.yaml').write_text(scene_data.DESCRIPTION)
    for number in range(4):
        scene_data.write_scene(tmp_path, f'{number}', scene)
    with load(opened(tmp_path), TRANSFORMS[name], seed=1) as loader:
        for _ in range(6):
            images, targets = loader.next()
            shown = images[:, 5:6] * 64 + 128  # the blue of the camera image: columns x 4
            depth, label = targets['depth'], targets['segmentation']
            inside = (depth > 0) & (label >= 0) & (targets['motion'] >= 0)
            inside = np.stack([eroded(each[0])[None] for each in inside])
            assert inside.mean() > 0.3
            columns = depth - 1
            assert abs(shown / 4 - columns)[inside].max() <= 1.5
            assert np.array_equal(label[inside], columns[inside] // 8 % 3)
            assert np.array_equal(targets['motion'][inside], columns[inside] // 20)
            confidence = images[:, 2:3] * 64 + 128
            assert abs(confidence / 4 - columns)[inside].max() <= 2


def test_mirroring_turns_flow_around(tmp_path):
    """U = 10 pixels to the right in every file; half of the views are mirrored."""
    (tmp_path / 'dataset.yaml').write_text(scene_data.DESCRIPTION)
    scene = scene_data.arrays(0)
    scene['flow'][...] = (255, 128 + 4, 128 + 10)
    for number in range(8):
        scene_data.write_scene(tmp_path, f'{number}', scene)
    crop = ResizeCrop((24, 40), resize=(24, 40), scale=(1.0, 1.0))
    with load(opened(tmp_path), crop, seed=2) as loader:
        flows = np.concatenate([loader.next()[0][:, :2] * 64 for _ in range(4)])
    u, v = flows[:, 0], flows[:, 1]
    assert np.allclose(abs(u), 10, atol=1e-3) and np.allclose(v, 4, atol=1e-3)
    assert {-10, 10} == set(np.rint(u[:, 0, 0]).astype(int))


def test_flow_of_another_size_is_scaled_to_the_view(tmp_path):
    """Flow of half the image's size: its vectors double where the image keeps its size."""
    (tmp_path / 'dataset.yaml').write_text(scene_data.DESCRIPTION)
    scene = scene_data.arrays(0)
    scene['flow'] = np.full((12, 20, 3), (200, 128 - 3, 128 + 100), np.uint8)
    for number in range(2):
        scene_data.write_scene(tmp_path, f'{number}', scene)
    crop = ResizeCrop((24, 40), resize=(24, 40), scale=(1.0, 1.0), flip=0.0)
    dataset = opened(tmp_path)
    with load(dataset, crop) as loader:
        images, _ = loader.next()
    assert np.allclose(images[:, 0] * 64, 200) and np.allclose(images[:, 1] * 64, -6)
    assert [picture.shape for picture in dataset.pictures(0)] == [(12, 20, 3), (24, 40, 3)]
    whole = dataset.image(0)
    assert whole.shape == (24, 40, 6) and (whole[..., :3] == (200, 122, 255)).all()  # cut at 127


def test_only_camera_pictures_change_their_colours(root):
    """With two camera pictures, both change alike."""
    size = ResizeCrop((24, 40), resize=(24, 40), scale=(1.0, 1.0), flip=0.0)
    plain, coloured = size, replace(size, distort=True)
    with load(opened(root), plain) as one, load(opened(root), coloured) as other:
        pairs = [(one.next()[0], other.next()[0]) for _ in range(4)]
    assert all(np.array_equal(a[:, :3], b[:, :3]) for a, b in pairs)
    assert not all(np.array_equal(a[:, 3:], b[:, 3:]) for a, b in pairs)
    twice = replace(opened(root), flow=(False, False))
    samples = tuple(replace(s, pictures=(s.image, s.image)) for s in twice.samples)
    with load(replace(twice, samples=samples), coloured) as loader:
        for _ in range(4):
            images, _ = loader.next()
            assert np.array_equal(images[:, :3], images[:, 3:])


def test_two_inputs_without_tasks_give_labels_as_without(root):
    wanted = SceneFiles(2)
    with (
        load(opened(root, wanted), TRANSFORMS['scale_crop']) as two,
        load(datasets.open('folder', root, 'train'), TRANSFORMS['scale_crop']) as one,
    ):
        images, labels = two.next()
        camera, alone = one.next()
    assert np.array_equal(labels, alone) and labels.dtype == np.int32
    assert np.array_equal(images[:, 3:], camera)


def test_depth_alone_needs_no_classes(tmp_path):
    scene_data.write_folder(tmp_path, description='tasks: {depth: {labels: depth}}\n')
    dataset = opened(tmp_path, SceneFiles(tasks=('depth',)))
    for transform in TRANSFORMS.values():
        with load(dataset, transform) as loader:
            _, targets = loader.next()
        assert list(targets) == ['depth'] and targets['depth'].max() > 1


def test_padding_is_ignored_and_unknown(root):
    """A crop larger than the images: what stands outside is the mean, ignored, unknown."""
    with load(opened(root), ScaleCrop((64, 64), scale=(0.5, 0.5))) as loader:
        images, targets = loader.next()
    outside = np.s_[:, :, 20:, :]
    assert not images[outside].any() and not targets['depth'][outside].any()
    assert (targets['segmentation'][outside] == -1).all()
    with pytest.raises(UserError, match='pad_label: must be a class, 0 to 1, or 255'):
        load(opened(root), ScaleCrop((64, 64), pad_label=2))


def test_a_bad_target_is_named_or_replaced(tmp_path):
    scene_data.write_folder(tmp_path)
    (tmp_path / 'depth/b.png').write_bytes((tmp_path / 'depth/b.png').read_bytes()[:-20])
    dataset = opened(tmp_path)
    with (
        load(dataset, TRANSFORMS['scale_crop'], shuffle=False) as loader,
        pytest.raises(UserError, match='depth/b.png: damaged or truncated'),
    ):
        loader.next()
    with load(dataset, TRANSFORMS['scale_crop'], shuffle=False, skip_bad=True) as loader:
        _, targets = loader.next()
    assert sum(loader.skipped.values()) == 1 and targets['depth'].any((1, 2, 3)).all()


def test_scenes_cannot_be_packed(root, tmp_path):
    with pytest.raises(datasets.DataError, match='neither several inputs nor tasks'):
        pack.pack(opened(root), tmp_path / 'packed')
    assert not (tmp_path / 'packed').exists()
