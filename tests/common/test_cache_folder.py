"""The folder of downloads: $NNSEG_CACHE, else that of the user."""

import pytest

from common import files
from common.errors import UserError


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
    monkeypatch.delenv(files.CACHE_VARIABLE, raising=False)
    assert files.cache_folder() == tmp_path / 'home' / '.cache' / 'nnseg'
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'xdg'))
    assert files.cache_folder() == tmp_path / 'xdg' / 'nnseg'
    monkeypatch.setenv(files.CACHE_VARIABLE, '~/own')
    assert files.cache_folder() == tmp_path / 'home' / 'own'
    monkeypatch.setenv(files.CACHE_VARIABLE, '~no_such_user/own')
    with pytest.raises(UserError, match='no home folder.*NNSEG_CACHE'):
        files.cache_folder()
