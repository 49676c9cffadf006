"""COCOSeg21: outlines and RLEs become masks, overlaps are ignored, small images are dropped."""

import json
import pickle

import numpy as np
import pytest
from PIL import Image

import datasets
from datasets import DataError
from datasets.loading import pack
from datasets.readers import coco_masks, cocoseg21

SQUARE = [[2, 3, 42, 3, 42, 43, 2, 43]]  # columns 2..41, rows 3..42: 1600 pixels
# COCO's ids, from its instances_val2017.json, by PASCAL VOC's names in its order.
KINDS = {
    'aeroplane': 5, 'bicycle': 2, 'bird': 16, 'boat': 9, 'bottle': 44, 'bus': 6, 'car': 3,
    'cat': 17, 'chair': 62, 'cow': 21, 'diningtable': 67, 'dog': 18, 'horse': 19, 'motorbike': 4,
    'person': 1, 'pottedplant': 64, 'sheep': 20, 'sofa': 63, 'train': 7, 'tvmonitor': 72,
}  # fmt: skip
PERSON, DOG, ZEBRA = 1, 18, 24  # COCO's ids; a zebra is not among the 20


def compressed(mask):
    """Return the runs and the compressed text of a mask, encoded from the format's description.

    Runs go down the columns; the fourth and later ones are differences, in digits of 5 bits.
    """
    runs, value = [], 0
    for pixel in mask.T.ravel():
        if pixel != value or not runs:
            if pixel != value and not runs:
                runs.append(0)
            runs.append(0)
            value = pixel
        runs[-1] += 1
    text = ''
    for index, run in enumerate(runs):
        rest = run - runs[index - 2] if index > 2 else run
        while True:
            digit, rest = rest & 31, rest >> 5
            done = rest == (-1 if digit & 16 else 0)
            text += chr(48 + digit + (0 if done else 32))
            if done:
                break
    return runs, text


@pytest.fixture
def root(tmp_path):
    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'val2017').mkdir()
    return tmp_path


def write(root, annotations, size=(50, 60), key=7):
    """Write a data set of one image with annotations (category, segmentation, area)."""
    entries = [
        {'image_id': key, 'category_id': category, 'segmentation': segmentation}
        | ({} if area is None else {'area': area})
        for category, segmentation, area in annotations
    ]
    image = {'id': key, 'file_name': 'a.jpg', 'height': size[0], 'width': size[1]}
    Image.new('RGB', size[::-1]).save(root / 'val2017/a.jpg')
    path = root / 'annotations/instances_val2017.json'
    path.write_text(json.dumps({'images': [image], 'annotations': entries}))
    return root


def label(root):
    """Return the label map of the only sample."""
    return datasets.open('cocoseg21', root, 'val').pair(0)[1]


def test_a_square_covers_the_pixels_inside(root):
    expected = np.zeros((50, 60), np.uint8)
    expected[3:43, 2:42] = 15
    assert np.array_equal(label(write(root, [(PERSON, SQUARE, 1600)])), expected)


def test_classes_have_the_numbers_and_names_of_pascal_voc(root):
    assert datasets.info('cocoseg21').classes == ('background', *KINDS)
    for number, category in enumerate(KINDS.values(), 1):
        assert set(np.unique(label(write(root, [(category, SQUARE, 1600)])))) == {0, number}


def test_a_pixel_of_two_instances_is_ignored_and_not_a_bird(root):
    other = [[32, 3, 52, 3, 52, 43, 32, 43]]
    expected = np.zeros((50, 60), np.uint8)
    expected[3:43, 2:32], expected[3:43, 32:42], expected[3:43, 42:52] = 15, 255, 12
    assert np.array_equal(label(write(root, [(PERSON, SQUARE, 1), (DOG, other, 1600)])), expected)
    three = [(PERSON, SQUARE, 9999), (PERSON, SQUARE, 1), (DOG, SQUARE, 1)]
    assert set(np.unique(label(write(root, three)))) == {0, 255}


def test_other_categories_are_dropped(root):
    labels = label(write(root, [(PERSON, SQUARE, 1600), (ZEBRA, SQUARE, 1600)]))
    assert set(np.unique(labels)) == {0, 15}


@pytest.mark.parametrize('areas, kept', [((1000,), 0), ((1001,), 1), ((600, 401), 1), ((), 0)])
def test_images_with_a_small_total_area_are_dropped(root, areas, kept):
    annotations = [(PERSON, SQUARE, area) for area in areas] + [(ZEBRA, SQUARE, 9999)]
    write(root, annotations)
    assert len(cocoseg21.find(root, 'val')) == kept
    if not kept:
        with pytest.raises(DataError, match='nothing found for the split val'):
            datasets.open('cocoseg21', root, 'val')


def test_missing_areas_are_counted_in_the_mask(root):
    write(root, [(PERSON, SQUARE, None)])
    assert len(cocoseg21.find(root, 'val')) == 1
    write(root, [(PERSON, [[2, 3, 12, 3, 12, 13, 2, 13]], None)])
    assert len(cocoseg21.find(root, 'val')) == 0


@pytest.mark.parametrize('seed', range(6))
def test_polygons_cover_the_pixel_centres_inside_them(seed):
    """Compare with the even-odd rule at pixel centres, except at the border.

    A border pixel may fall on either side; it is at most half a pixel away.
    """
    rng = np.random.RandomState(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, 9))
    radius = rng.uniform(15, 38, 9)
    x, y = 40 + radius * np.cos(angles), 42 + radius * np.sin(angles)
    mask = coco_masks.draw([np.stack([x, y], 1).ravel().tolist()], 80, 90)
    rows, columns = np.mgrid[:80, :90] + 0.5
    inside, nearest = np.zeros((80, 90), bool), np.full((80, 90), np.inf)
    for x0, y0, x1, y1 in zip(x, y, np.roll(x, -1), np.roll(y, -1)):
        crosses = (y0 > rows) != (y1 > rows)
        inside ^= crosses & (columns < x0 + (rows - y0) * (x1 - x0) / (y1 - y0))
        along = (columns - x0) * (x1 - x0) + (rows - y0) * (y1 - y0)
        along = np.clip(along / ((x1 - x0) ** 2 + (y1 - y0) ** 2), 0, 1)
        distance = np.hypot(columns - x0 - along * (x1 - x0), rows - y0 - along * (y1 - y0))
        nearest = np.minimum(nearest, distance)
    assert mask.sum() > 500
    assert np.array_equal(mask[nearest > 0.8], inside[nearest > 0.8])


@pytest.mark.parametrize('seed', range(4))
def test_rles_are_decoded_from_numbers_and_from_text(seed):
    rng = np.random.RandomState(seed)
    mask = np.zeros((37, 61), bool)
    for _ in range(seed + 1):
        top, left = rng.randint(0, 30, 2)
        mask[top : top + 20, left : left + 25] ^= True
    if seed == 3:
        mask[0, 0] = True
    runs, text = compressed(mask)
    for counts in (runs, text):
        segmentation = {'counts': counts, 'size': [37, 61]}
        assert np.array_equal(coco_masks.draw(segmentation, 37, 61), mask)


def test_an_rle_text_of_pycocotools_is_decoded():
    """A cross in 3x4 pixels, encoded by pycocotools 2.0.8."""
    cross = np.array([[0, 1, 0, 0], [1, 1, 1, 0], [0, 1, 0, 0]], bool)
    segmentation = {'size': [3, 4], 'counts': '11120N3'}
    assert np.array_equal(coco_masks.draw(segmentation, 3, 4), cross)


def test_genuine_annotations_have_the_areas_of_pycocotools(shared):
    dataset = datasets.open('cocoseg21', shared / 'data/samples/coco_instances', 'val')
    assert [sample.name for sample in dataset] == ['000000000001', '000000000002']
    for index, name, pixels in ((0, 'person', 117912), (1, 'dog', 75758)):  # by pycocotools 2.0.8
        labels = dataset.label(index)
        assert np.bincount(labels.ravel(), minlength=21)[dataset.info.classes.index(name)] == pixels
        assert len(np.unique(labels)) == 2


def test_missing_and_broken_files_are_reported(root):
    path = root / 'annotations/instances_val2017.json'
    write(root, [(PERSON, SQUARE, 1600)])
    datasets.open('cocoseg21', root, 'val')
    (root / 'val2017/a.jpg').unlink()
    with pytest.raises(DataError, match='val2017/a.jpg is missing; .*2017.json names it'):
        datasets.open('cocoseg21', root, 'val')
    with pytest.raises(DataError, match='instances_train2017.json is missing'):
        datasets.open('cocoseg21', root, 'train')
    for content, problem in (
        ('{"images": [', 'not valid JSON'),
        ('[]', 'not a JSON object'),
        ('{"images": []}', 'not a file of COCO instance annotations .annotations must be'),
        ('{"images": [1], "annotations": []}', 'not a file of COCO .* .images must be'),
    ):
        path.write_text(content)
        with pytest.raises(DataError, match=f'2017.json: {problem}'):
            datasets.open('cocoseg21', root, 'val')


@pytest.mark.parametrize(
    ('where', 'key', 'value', 'problem'),
    [
        ('annotations', 'segmentation', [[0, 0, 10, 0, 10]], 'has 5 numbers instead of pairs'),
        ('annotations', 'segmentation', [[]], 'has 0 numbers'),
        ('annotations', 'segmentation', [['1', 2]], 'not a list of numbers'),
        ('annotations', 'segmentation', [[1, [2]]], 'not a list of numbers'),
        ('annotations', 'segmentation', [{}], 'not a list of numbers'),
        ('annotations', 'segmentation', [[1, 10**400]], 'coordinates above'),
        ('annotations', 'segmentation', [[1, 1e300]], 'coordinates above'),
        ('annotations', 'segmentation', [[0, 0, 9e5, 0] * 9], 'its outlines are longer'),
        ('annotations', 'segmentation', [[0, 0, 9e5, 0]] * 9, 'its outlines are longer'),
        ('annotations', 'segmentation', 'x', 'neither a list of polygons nor an RLE'),
        ('annotations', 'segmentation', {}, 'counts of its RLE'),
        ('annotations', 'segmentation', {'counts': [3000.0]}, 'counts of its RLE'),
        ('annotations', 'segmentation', {'counts': [1, [2]]}, 'counts of its RLE'),
        ('annotations', 'segmentation', {'counts': [4000, -1000]}, 'a run of its RLE'),
        ('annotations', 'segmentation', {'counts': [3000], 'size': [60, 50]}, 'size of its RLE'),
        ('annotations', 'segmentation', {'counts': [2**62] * 4}, 'a run of its RLE'),
        ('annotations', 'segmentation', {'counts': [1]}, 'its RLE has 1 pixels, its image 60x50'),
        ('annotations', 'segmentation', {'counts': 'o' * 100_000}, 'no compressed text'),
        ('annotations', 'segmentation', {'counts': '\n'}, 'no compressed text'),
        ('annotations', 'area', None, 'its area is no number'),
        ('annotations', 'category_id', '1', 'needs a category_id'),
        ('annotations', 'image_id', [1], 'needs a category_id and an image_id'),
        ('images', 'id', None, 'None needs an id'),
        ('images', 'id', {'a': 1}, 'needs an id'),
        ('images', 'file_name', 7, '7 needs an id, and a file_name as text'),
        ('images', 'height', 0, 'needs a height'),
        ('images', 'height', 10**9, 'needs a height'),
        ('images', 'width', True, 'needs a height and a width'),
    ],
)
def test_wrong_entries_are_reported_with_their_id(root, where, key, value, problem):
    """Before anything is drawn: the sizes are those of petabytes."""
    write(root, [(PERSON, SQUARE, 1600)])
    path = root / 'annotations/instances_val2017.json'
    content = json.loads(path.read_text())
    content[where][0][key] = value
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf'2017.json: the (image|annotation) .*{problem}') as error:
        datasets.open('cocoseg21', root, 'val')
    assert len(str(error.value)) < 600


def test_an_image_is_there_once(root):
    write(root, [(PERSON, SQUARE, 1600)])
    path = root / 'annotations/instances_val2017.json'
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, 'images': content['images'] * 2}))
    with pytest.raises(DataError, match='2017.json: the image 7 is there twice'):
        datasets.open('cocoseg21', root, 'val')


def test_decoding_needs_the_sample_only(root):
    """Workers of the loader do not read the annotation file again."""
    write(root, [(PERSON, SQUARE, 1600)])
    dataset = datasets.open('cocoseg21', root, 'val')
    expected = dataset.label(0)
    (root / 'annotations/instances_val2017.json').write_text('{"images": [')
    assert np.array_equal(pickle.loads(pickle.dumps(dataset)).label(0), expected)


def test_samples_are_smaller_than_their_annotations(root):
    """Every worker process holds the samples, so they must take at most half the file."""
    rng = np.random.RandomState(0)
    outlines = [[rng.uniform(0, 50, 200).round(2).tolist()] for _ in range(30)]
    write(root, [(PERSON, outline, 1600) for outline in outlines])
    dataset = datasets.open('cocoseg21', root, 'val')
    size = (root / 'annotations/instances_val2017.json').stat().st_size
    assert len(pickle.dumps(dataset.samples)) < 0.5 * size


def test_packed_labels_equal_the_originals(root, tmp_path):
    dataset = datasets.open('cocoseg21', write(root, [(PERSON, SQUARE, 1600)]), 'val')
    packed = pack.pack(dataset, tmp_path / 'packed')
    assert np.array_equal(packed.label(0), dataset.label(0))
