"""List files in the formats that networks' authors publish."""

import json
import os
from pathlib import Path

import pytest

from datasets import DataError
from datasets.readers import layout, lists
from datasets.readers.lists import read_list
from datasets.samples import FoundSamples, Sample


@pytest.fixture
def root(tmp_path):
    for name in ('images/a.jpg', 'images/b c.jpg', 'labels/a.png', 'labels/b c.png'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def samples(root, text, name='train.lst'):
    (root / name).write_text(text)
    return read_list(root / name, root)


@pytest.mark.parametrize('separator', ['\t', ' ', ',', ', '])
def test_columns_have_any_separator(root, separator):
    (sample,) = samples(root, f'\nimages/a.jpg{separator}labels/a.png\n\n')
    assert sample.name == 'images/a'
    assert (sample.image, sample.label) == (root / 'images/a.jpg', root / 'labels/a.png')


def test_names_may_contain_spaces_between_tabs(root):
    (sample,) = samples(root, 'images/b c.jpg\tlabels/b c.png\n')
    assert (sample.image.name, sample.label.name) == ('b c.jpg', 'b c.png')


def test_a_line_with_one_column_has_no_label(root):
    (sample,) = samples(root, 'images/a.jpg\n')
    assert sample.label is None


def test_folders_of_the_authors_machine_are_dropped(root):
    (sample,) = samples(root, '/SegNet/CamVid/images/a.jpg /SegNet/CamVid/labels/a.png')
    assert (sample.name, sample.image) == ('images/a', root / 'images/a.jpg')


def test_absolute_paths_are_named_relative_to_the_root(root):
    (sample,) = samples(root, f'{root}/images/a.jpg {root}/labels/a.png')
    assert sample.name == 'images/a'
    (sample,) = read_list(root / 'train.lst', root / 'elsewhere')
    assert sample.image == root / 'images/a.jpg'
    assert not Path(sample.name).is_absolute()


def test_odgt_lines_are_json_objects(root):
    line = '{"fpath_img": "ADE/images/a.jpg", "fpath_segm": "ADE/labels/a.png", "width": 3}\n'
    (sample,) = samples(root, line, 'a.odgt')
    assert (sample.image, sample.label) == (root / 'images/a.jpg', root / 'labels/a.png')
    with pytest.raises(DataError, match='a.odgt, line 2: not a JSON object'):
        samples(root, line + '{"image": 1}', 'a.odgt')


@pytest.mark.parametrize(
    'line, problem',
    [
        ('images/a.jpg labels/a.png 3', '3 columns'),
        ('images/x.jpg labels/a.png', 'images/x.jpg does not exist'),
        ('images/a.jpg labels/x.png', 'labels/x.png does not exist'),
        ('images/a.jpg ../labels/x.png', 'does not exist'),
        (',', '0 columns'),
        (' ,\t,', '2 columns|does not exist'),
        ('images', 'images does not exist as a file'),
        ('pipe.jpg', 'pipe.jpg does not exist as a file'),
        ('a\0b.jpg', 'does not exist'),
        ('~nouser/a.jpg', 'does not exist'),
        (f'images/{"x" * 300}.jpg', 'xx... does not exist'),
        ('x/' * 1000, 'does not exist'),
        ('x' * 1_000_000, r'xx\.\.\. is too long for the name of a file'),
        ('/' * 1_000_000, 'too long'),
    ],
)
def test_a_wrong_line_is_reported_with_its_number(root, line, problem):
    os.mkfifo(root / 'pipe.jpg')
    with pytest.raises(DataError, match=f'train.lst, line 2: .*{problem}') as error:
        samples(root, f'images/a.jpg\n{line}\n')
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize(
    'line, problem',
    [
        ('[1]', 'not a JSON object'),
        ('{"fpath_img": 1}', 'not a JSON object with fpath_img'),
        ('{"fpath_img": "images/a.jpg", "fpath_segm": {"a": 1}}', 'as texts'),
        ('{"fpath_img": "images/a.jpg", "fpath_img": "b"}', 'the key .fpath_img. twice'),
        ('{"fpath_img": "\\ud800"}', 'surrogate'),
        ('{"fpath_img": "images/a.jpg", "width": NaN}', 'NaN is no number'),
        ('[' * 100_000, 'nested too deeply'),
        ('{"fpath_img": "images/a.jpg", "width": ' + '9' * 5000 + '}', 'too many digits'),
    ],
)
def test_a_wrong_line_of_json_is_reported_with_its_number(root, line, problem):
    with pytest.raises(DataError, match=f'a.odgt, line 2: .*{problem}'):
        samples(root, '{"fpath_img": "images/a.jpg"}\n' + line, 'a.odgt')


def test_lists_that_are_no_regular_files_are_refused(root):
    os.mkfifo(root / 'pipe.lst')
    for name in ('pipe.lst', 'images'):
        with pytest.raises(DataError, match=f'{name}: cannot be read: is a'):
            read_list(root / name, root)


def test_a_list_of_names_can_have_lines_of_any_length(tmp_path):
    found = FoundSamples((Sample('a', Path('a'), None),))
    for line in ('x' * 1_000_000, 'x/' * 500_000):
        (tmp_path / 'train.txt').write_text(line)
        with pytest.raises(DataError, match='line 1: there is no image called') as error:
            layout.select_listed(found, tmp_path / 'train.txt')
        assert len(str(error.value)) < 500
        assert lists.not_listed(found, [tmp_path / 'train.txt'])
    assert len(set(lists.names_meant('x/' * 2000 + 'a.png'))) < 300  # for each line of the list
    assert 'a' in lists.names_meant('x/' * 2000 + 'a.png')


def test_a_missing_list_is_reported(tmp_path):
    with pytest.raises(DataError, match='none.lst: cannot be read'):
        read_list(tmp_path / 'none.lst', tmp_path)


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16'])
def test_lists_of_windows_are_read(root, encoding):
    """With a byte order mark, backslashes and CR LF, as its editors and shells write them."""
    (root / 'images/ä').mkdir()
    (root / 'images/ä/a.jpg').touch()
    lines = ['images\\a.jpg labels\\a.png', 'D:\\own\\images\\ä\\a.jpg .\\labels\\a.png', '']
    (root / 'own.lst').write_bytes('\r\n'.join(lines).encode(encoding))
    objects = [dict(zip(('fpath_img', 'fpath_segm'), line.split())) for line in lines[:2]]
    odgt = '\r\n'.join(map(json.dumps, objects))
    (root / 'own.odgt').write_bytes(odgt.encode(encoding))
    for name in ('own.lst', 'own.odgt'):
        found = read_list(root / name, root)
        assert [sample.name for sample in found] == ['images/a', 'images/ä/a']
        assert {sample.label for sample in found} == {root / 'labels/a.png'}


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16'])
def test_lists_of_names_are_those_of_any_system(tmp_path, encoding):
    found = FoundSamples(tuple(Sample(name, Path(name), None) for name in ('ä/x', 'ä/y', 'z')))
    lines = ['ä\\y', '', './ä/x.tiff', 'C:\\photos\\z.JPG']
    (tmp_path / 'train.txt').write_bytes('\r\n'.join(lines).encode(encoding))
    chosen = layout.select_listed(found, tmp_path / 'train.txt')
    assert [sample.name for sample in chosen] == ['ä/y', 'ä/x', 'z']
    (tmp_path / 'train.txt').write_text('ä/z2\n')
    with pytest.raises(DataError, match="train.txt, line 1: there is no image called 'ä/z2'"):
        layout.select_listed(found, tmp_path / 'train.txt')


def test_names_do_not_lead_out_of_the_folder_of_results(root):
    """Results are written below a folder, under the names of the samples."""
    (root / 'inner').mkdir()
    outside = f'{root}/inner/../images/a.jpg'
    for folder in (root / 'inner', root / 'elsewhere'):
        (root / 'train.lst').write_text(f'{outside}\n')
        (sample,) = read_list(root / 'train.lst', folder)
        assert sample.image.samefile(root / 'images/a.jpg')
        assert sample.name == f'{root}/images/a'[1:]
