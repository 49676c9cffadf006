"""Every entry of the core's list names tests, also after files were moved or renamed."""

from support import core_tests


def test_every_entry_has_a_file():
    assert core_tests.missing_paths() == []


def test_every_entry_selects_a_test(request):
    assert request.config.stash[core_tests.UNUSED] == []


def test_a_renamed_test_is_found():
    entry = next(entry for entry in core_tests.CORE if '::' in entry)
    path = entry.partition('::')[0]
    assert core_tests.unused_entries([f'tests/{path}::test_renamed']) == [
        each for each in core_tests.CORE if each.startswith(f'{path}::')
    ]
    assert core_tests.is_core(f'tests/{entry}')
    assert not core_tests.is_core(f'tests/{path}::test_renamed')
