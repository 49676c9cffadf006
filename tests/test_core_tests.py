"""Every entry of the core's list names tests, also after files were moved or renamed."""

import pytest

from support import core_tests, programs


def test_every_entry_has_a_file():
    assert core_tests.missing_paths() == []


def test_every_entry_selects_a_test(request):
    config = request.config
    whole = core_tests.collects_whole_core(config.args, config.invocation_params.dir)
    if not whole or config.getoption('lf', False):
        pytest.skip('needs a run that collects all files of the core, and each as a whole')
    assert core_tests.unused_entries(config.stash[core_tests.COLLECTED]) == []


def test_a_renamed_test_is_found():
    entry = next(entry for entry in core_tests.CORE if '::' in entry)
    path = entry.partition('::')[0]
    others = [f'tests/{each}' for each in core_tests.CORE if not each.startswith(f'{path}::')]
    assert core_tests.unused_entries([*others, f'tests/{path}::test_renamed']) == [
        each for each in core_tests.CORE if each.startswith(f'{path}::')
    ]
    assert core_tests.is_core(f'tests/{entry}')
    assert not core_tests.is_core(f'tests/{path}::test_renamed')


def test_only_runs_of_the_whole_core_are_compared_with_its_list():
    """In other runs an entry's tests can be missing because the user selected others."""
    files = [f'tests/{entry.partition("::")[0]}' for entry in core_tests.CORE]
    for arguments, whole in (
        (['tests'], True),
        ([str(core_tests.TESTS)], True),
        (files, True),
        (files[1:], False),
        (['tests/test_core_tests.py'], False),
        (['tests', 'tests/test_infer.py::test_one_image_from_any_folder'], False),
    ):
        assert core_tests.collects_whole_core(arguments, programs.PROJECT) == whole, arguments


def test_the_core_has_one_mark_expression():
    """Only with this expression, files without core tests are not even imported."""
    makefile = (programs.PROJECT / 'Makefile').read_text()
    assert makefile.count(f"-m '{core_tests.MARK_EXPRESSION}'") == 1
    assert makefile.count("-m 'fast") == 1
