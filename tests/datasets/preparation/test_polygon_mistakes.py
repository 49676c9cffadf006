"""prepare polygons: wrong and hostile annotations end in one line, and the others are done."""

import json
import os

import numpy as np
import pytest
import yaml

from support import annotation_files, prepare_runs
from support.annotation_files import FLAT, OUTLINE, SIZE, as_base64

IMAGE = '<annotations><image name="a.png" width="80" height="60">'


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'shapes': 3}, 'not an annotation of LabelMe (shapes must be a list'),
        ({'imageWidth': '80'}, "must be numbers of pixels, not 60 and '80'"),
        ({'imageWidth': 81}, 'is of 81x60 pixels, but the image'),
        ({'type': 'blob'}, "the shape 1, car, is of the type 'blob'; drawn are polygon,"),
        ({'points': [[1, 2], [3, 4]]}, 'car, is a polygon of 2 points, not at least 3'),
        ({'points': [[1, 2], [3, 4], [5, 1e7]]}, 'is not [x, y], two numbers up to 1000000'),
        ({'points': [[1, 2], [3, True], [5, 6]]}, 'a point is not [x, y]'),
        ({'points': [[-9e5, -9e5], [9e5, 9e5], [0, 9e5]] * 3}, 'longer than 5000000 pixels'),
        ({'points': []}, 'the shape 1, car, has no points'),
        ({'points': [[1, 2]] * 1_000_001}, 'car, is a polygon of 1000001 points, not at most'),
        ({'mask': '!', 'type': 'mask', 'points': [[1, 1], [2, 2]]}, 'is not base64'),
        ({'mask': as_base64(np.ones((3, 3), bool)), 'type': 'mask', 'points': [[1, 1], [9, 9]]},
         'mask of car: has 3x3 pixels, but its points are the corners of 9x9'),
    ],
)  # fmt: skip
def test_wrong_labelme_files_are_one_line_beside_good_ones(change, message, tmp_path, capsys):
    kind, points = change.pop('type', 'polygon'), change.pop('points', OUTLINE)
    keys = {'mask': change.pop('mask')} if 'mask' in change else {}
    for name, shapes, more in (
        ('a', [('car', 'polygon', OUTLINE)], {}), ('b', [('car', kind, points, keys)], change),
    ):  # fmt: skip
        annotation_files.image(tmp_path / f'{name}.png')
        annotation_files.labelme(tmp_path / f'{name}.json', shapes, **more)
    status, lines, errors = prepare_runs.run(capsys, 'polygons', tmp_path, '-d', tmp_path)
    assert (status, errors) == (1, [])
    assert lines[0].startswith(f'{tmp_path}/b.json') and message in lines[0]
    assert '1 masks written, 0 were up to date, 1 failed' in lines[1]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('<!DOCTYPE annotations [<!ENTITY a "b">]><annotations>&a;</annotations>',
         'cannot be read (line 1): it declares a document type'),
        ('<opencv_storage/>', 'its root element is opencv_storage, not annotations'),
        ('<annotations><track id="0"/></annotations>', 'in the format CVAT for images 1.1'),
        ('<annotations/>', 'has no image element'),
        ('{I}<box label="a" xtl="1" ytl="nan" xbr="3" ybr="4"/>{E}',
         "the image 'a.png': the box a: its ytl is 'nan', not a number of pixels"),
        ('{I}<box xtl="1" ytl="1" xbr="3" ybr="4"/>{E}', 'one box has no label'),
        ('{I}<polygon label="a" points="1,2;3"/>{E}', 'its points are not "x,y;'),
        ('{I}<mask label="a" rle="5" left="0" top="0" width="2" height="2"/>{E}',
         'the mask a: its rle has 5 pixels instead of 2x2'),
        ('{I}<mask label="a" rle="-1" left="0" top="0" width="2" height="2"/>{E}',
         'its rle is not a list of whole numbers'),
        ('{I}<mask label="a" rle="4" left="79" top="0" width="2" height="2"/>{E}',
         'it leaves the 80x60 pixels of its image'),
        ('{I}<box label="a" xtl="1" ytl="1" xbr="3" ybr="4" z_order="x"/>{E}',
         "z_order is 'x', not a whole number"),
    ],
)  # fmt: skip
def test_wrong_cvat_files_are_one_line(text, message, tmp_path, capsys):
    annotation_files.image(tmp_path / 'a.png')
    path = tmp_path / 'a.xml'
    path.write_text(text.replace('{I}', IMAGE).replace('{E}', '</image></annotations>'))
    line = prepare_runs.refused(capsys, 'polygons', path, '-d', tmp_path)
    assert line.startswith(f'{path}: ') and message in line


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'categories': {}}, 'there is no category 7 in the file'),
        ({'segmentation': [[1, 2, 3]]}, 'a polygon has 3 numbers instead of pairs'),
        (
            {'segmentation': {'counts': [5], 'size': [60, 80]}},
            'its RLE has 5 pixels, its image 80x60',
        ),
        ({'segmentation': []}, 'its 1 annotations are boxes without an outline'),
        ({'image': 5}, 'there is no image with this id in the file'),
        ({'size': (61, 80)}, 'is of 80x61 pixels, but the image'),
    ],
)
def test_wrong_coco_files_are_one_line(change, message, tmp_path, capsys):
    annotation_files.image(tmp_path / 'a.png')
    keys = {'segmentation': change.get('segmentation', [FLAT])}
    path = annotation_files.coco(
        tmp_path / 'a.json', ['a.png'], [(change.get('image', 0), 7, keys)],
        change.get('categories', {7: 'x'}), change.get('size', SIZE),
    )  # fmt: skip
    line = prepare_runs.refused(capsys, 'polygons', path, '-d', tmp_path)
    assert line.startswith(f'{path}: ') and message in line
    assert not (tmp_path / 'dataset.yaml').exists()


def test_options_that_cannot_be_are_refused(tmp_path, capsys):
    annotation_files.image(tmp_path / 'a.png')
    path = annotation_files.labelme(tmp_path / 'a.json', [('x', 'polygon', OUTLINE)])
    (tmp_path / 'b.json').write_text(json.dumps({'info': {}}))
    (tmp_path / 'empty').mkdir()
    for words, message in (
        ([tmp_path / 'no.json'], 'no.json: no such file or folder; name the annotations'),
        ([tmp_path / 'empty'], 'empty: has no annotations, files that end in .json or .xml'),
        ([tmp_path / 'b.json'], 'b.json: neither an annotation of LabelMe (with shapes) nor'),
    ):
        assert message in prepare_runs.refused(capsys, 'polygons', *words, '-d', tmp_path)
    description = tmp_path / 'dataset.yaml'
    for content, words, message in (
        ('classes: [y]', [], '--background background: is no class of dataset.yaml; name one of y'),
        ('classes: [x]', ['--classes', 'z'], '--classes z: dataset.yaml has other classes, x'),
        ('classes: [x]', ['--labels', 'z'], '--labels z: ' + str(description) + ' says labels'),
        ('{classes: {x: [1, 2, 3]}, label_format: colours}', [], 'label_format is colours, but'),
    ):
        description.write_text(content)
        assert message in prepare_runs.refused(capsys, 'polygons', path, '-d', tmp_path, *words)
    assert not (tmp_path / 'labels').exists()


def test_two_entries_of_an_image_in_one_file_are_named_so(tmp_path, capsys):
    annotation_files.image(tmp_path / 'a.png')
    keys = {'segmentation': [FLAT]}
    path = annotation_files.coco(
        tmp_path / 'a.json', ['a.png', 'old/a.png'], [(0, 7, keys), (1, 7, keys)], {7: 'x'}
    )
    line = prepare_runs.refused(capsys, 'polygons', path, '-d', tmp_path)
    assert line == f'{path}: has two entries of the image a; remove one of them'


def test_nothing_is_written_outside_of_the_folder(tmp_path, capsys):
    """Neither where options and dataset.yaml name other folders, nor where links lead there."""
    root, other = tmp_path / 'root', tmp_path / 'other'
    annotation_files.image(root / 'a.png')
    path = annotation_files.labelme(root / 'a.json', [('x', 'polygon', OUTLINE)])
    other.mkdir()
    victim = other / 'victim'
    victim.write_text('precious')
    os.utime(victim, (0, 0))
    words = 'polygons', path, '-d', root
    for option in ('--labels', '--images'):
        for named in ('../other', other):
            line = prepare_runs.refused(capsys, *words, option, named)
            assert line.startswith(f'{option} {named}: is not in {root}; name a folder')
    (root / 'labels').symlink_to(other)
    line = prepare_runs.refused(capsys, *words)
    assert line.startswith(f'{root}/labels: is {other}, outside of {root}')
    (root / 'labels').unlink()
    (root / 'labels').mkdir()
    (root / 'labels/a.png').symlink_to(victim)
    line = prepare_runs.refused(capsys, *words)
    assert line.startswith(f'{root}/labels/a.png: is {victim}, outside of {root}')
    held = as_base64(np.full((*SIZE, 3), 9, np.uint8))
    (root / 'sub').symlink_to(other)
    (root / 'b.png').symlink_to(other / 'new.png')
    for name, message in (
        ('sub/c', f'{root}/sub/c.png: is {other}/c.png, outside of {root}'),
        ('b', f'{root}/b.png: cannot be read (No such file'),
    ):
        found = annotation_files.labelme(
            root / f'{name}.json', [('x', 'polygon', OUTLINE)], imageData=held
        )
        line = prepare_runs.refused(capsys, 'polygons', found, '-d', root)
        assert line.startswith(message)
    (root / 'dataset.yaml').write_text('classes: [background, x]\nlabels: ../other\nimages: .\n')
    line = prepare_runs.refused(capsys, *words)
    assert line.startswith(f'{root}/../other: is {other}, outside of {root}')
    assert {path.name for path in other.iterdir()} == {'victim', 'c.json'}
    assert victim.read_text() == 'precious'


def test_absolute_folders_are_written_as_seen_from_the_data(tmp_path, capsys):
    annotation_files.image(tmp_path / 'photos/a.png')
    path = annotation_files.labelme(tmp_path / 'a.json', [('x', 'polygon', OUTLINE)])
    words = '--images', tmp_path / 'photos', '--labels', tmp_path / 'drawn'
    assert prepare_runs.run(capsys, 'polygons', path, '-d', tmp_path, *words)[0] == 0
    found = yaml.safe_load((tmp_path / 'dataset.yaml').read_text())
    assert (found['images'], found['labels']) == ('photos', 'drawn')
