"""Files of weights are found by path or published name, in a fixed order of folders."""

import os

import pytest

import models
from common import files
from models import weights
from models.weights import lookup


def forbid(monkeypatch, forbidden):
    """Deny access to all paths that start with ``forbidden``, like a folder without permission."""
    real = os.stat

    def stat(path, *args, **options):
        if str(path).startswith(str(forbidden)):
            raise PermissionError(13, 'Permission denied', str(path))
        return real(path, *args, **options)

    monkeypatch.setattr(os, 'stat', stat)


def test_inaccessible_paths_are_reported_in_one_line(tmp_path, monkeypatch):
    long = tmp_path / f'{"x" * 300}.h5'
    for use in (weights.find, weights.load, weights.read):
        with pytest.raises(models.ModelError, match=f'^{long}: cannot be read .*too long'):
            use(long)
        with pytest.raises(models.ModelError, match='a folder, not a file'):
            use(tmp_path)
    for name in ('D3Net-S.h5', 'mine.h5'):
        with pytest.raises(models.ModelError, match='cannot be read .*too long'):
            weights.find(tmp_path / ('x' * 300) / name)
    forbid(monkeypatch, tmp_path / 'closed')
    path = tmp_path / 'closed' / 'D3Net-S.h5'
    for use in (weights.find, weights.load, weights.read):
        with pytest.raises(models.ModelError, match=rf'^{path}: cannot be read \(Permission den'):
            use(path)


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Empty folders in which a published file is searched: here, project, cache."""
    folders = {name: tmp_path / name for name in ('here', 'project', 'cache')}
    for folder in folders.values():
        folder.mkdir()
    monkeypatch.chdir(folders['here'])
    monkeypatch.setattr(lookup, 'PROJECT', folders['project'])
    monkeypatch.setenv(files.CACHE_VARIABLE, str(folders['cache']))
    monkeypatch.setenv(weights.MIRROR_VARIABLE, 'http://127.0.0.1:9/')
    return folders


@pytest.mark.parametrize('spelling', ['D3Net-L.h5', 'D3Net_L.h5'])
@pytest.mark.parametrize('requested', ['D3Net-L.h5', 'D3Net_L.h5'])
@pytest.mark.parametrize('place', ['here', 'project', 'cache'])
def test_every_place_is_searched_for_both_spellings(places, place, spelling, requested, caplog):
    there = places[place] / spelling
    there.touch()
    caplog.set_level('INFO', 'nnseg')
    assert weights.find(requested).resolve() == there
    is_logged = [f'{requested}: using the weights in ' in r.message for r in caplog.records]
    assert is_logged == ([] if place == 'here' and spelling == requested else [True])
    assert weights.find(places['here'] / requested) == there


def test_the_project_goes_before_the_cache(places):
    for place in ('cache', 'project', 'here'):
        there = places[place] / 'D3Net-S.h5'
        there.touch()
        assert weights.find('D3Net-S.h5').resolve() == there


def test_a_missing_folder_is_an_error(places):
    """No other folder is searched instead."""
    for place in places.values():
        (place / 'D3Net-S.h5').touch()
    for name in ('D3Net-S.h5', 'mine.h5'):
        for folder in ('/no/such/folder', 'relative', 'D3Net-S.h5', '~no_such_user'):
            with pytest.raises(models.ModelError, match=f'{folder}.*(there is no|home) folder'):
                weights.find(f'{folder}/{name}')


def test_an_inaccessible_cache_folder_is_reported_with_a_remedy(places, monkeypatch):
    forbid(monkeypatch, places['cache'])
    with pytest.raises(models.ModelError, match='cannot be read .*; set another.*NNSEG_CACHE'):
        weights.find('D3Net-S.h5')


def test_an_unknown_file_is_refused_with_the_published_ones(tmp_path):
    with pytest.raises(models.ModelError, match='mine.h5: no such file.*D3Net-L.h5, D3Net-S.h5'):
        weights.find(tmp_path / 'mine.h5')
    with pytest.raises(models.ModelError, match='a folder, not a file'):
        weights.find(tmp_path)


def test_a_folder_is_refused_with_the_weights_in_it(tmp_path):
    for name in ('a.h5', 'final.h5', 'best.h5', 'x.h5'):
        (tmp_path / name).touch()
    with pytest.raises(models.ModelError, match='no such .*; its folder has best.h5, .*, .*.h5$'):
        weights.find(tmp_path / 'bst.h5')
    with pytest.raises(models.ModelError, match=f'files in it, such as {tmp_path}/best.h5$'):
        weights.find(tmp_path)


def test_a_published_checkpoint_is_found_in_its_folder(places):
    name = 'ade20k-resnet50-upernet/encoder_epoch_30.pth'
    there = places['cache'] / name
    there.parent.mkdir()
    there.touch()
    assert weights.find(name) == there
    with pytest.raises(models.ModelError, match='encoder_epoch_30.pth: no such file'):
        weights.find('encoder_epoch_30.pth')


def test_a_file_that_needs_a_browser_is_refused_with_its_page(places):
    with pytest.raises(models.ModelError, match='without a browser; get it from https://drive.goo'):
        weights.find('best_val_smaller.pth')


def test_a_missing_checkpoint_is_refused_with_the_nearest_published(places):
    with pytest.raises(models.ModelError, match='no such file.* such as resnet18-imagenet.pth'):
        weights.find('resnet18-imagenets.pth')
