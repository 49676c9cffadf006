"""--import: modules of a user, by name or file, imported before the command does anything."""

import pytest

from support import programs

INFER = programs.PROJECT / 'infer.py'


@pytest.mark.parametrize('written', ['mine.py', '{folder}/mine.py', 'mine'])
@pytest.mark.parametrize('first', [True, False])
def test_a_module_is_imported_first(tmp_path, written, first):
    (tmp_path / 'mine.py').write_text('print("imported")\n')
    option = ['--import', written.format(folder=tmp_path)]
    process = programs.run(
        INFER, *(option * first), '--help', *(option * (not first)), cwd=tmp_path
    )
    assert process.stdout.startswith('imported\n'), process.stderr


@pytest.mark.parametrize(
    'name, content, message',
    [
        ('nowhere.py', None, 'there is no such module or file'),
        ('nowhere', None, 'there is no such module or file'),
        ('email.nowhere.at_all', None, 'there is no such module or file'),
        ('models.py', '', 'another module is called models; give the file another name'),
        ('json.py', '', 'another module is called json; give the file another name'),
        ('my-parts.py', '', 'rename it to a valid module name, such as mine.py'),
        ('mine.py', 'import not_there', 'needs the package not_there, which is not installed in'),
        (
            'mine.py',
            'import datasets\ndatasets.register(datasets.reader("voc"))',
            'a data set called voc is registered already; give this one another name',
        ),
    ],
)
def test_a_failed_import_is_reported_in_one_line(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    process = programs.run(INFER, '--import', name, '-i', 'x.jpg', cwd=tmp_path)
    assert message in programs.error_line(process)


def test_a_programming_error_keeps_its_traceback(tmp_path):
    (tmp_path / 'mine.py').write_text('int("abc")')
    process = programs.run(INFER, '--import', 'mine.py', '-i', 'x.jpg', cwd=tmp_path)
    assert process.returncode == 1
    assert "ValueError: invalid literal for int() with base 10: 'abc'" in process.stderr


def test_a_file_beside_the_module_does_not_replace_the_projects(tmp_path):
    (tmp_path / 'mine.py').write_text('import models; print(models.__file__)')
    (tmp_path / 'models.py').write_text('')
    process = programs.run(INFER, '--import', tmp_path / 'mine.py', '--help')
    assert process.stdout.startswith(str(programs.PROJECT / 'models')), process.stderr


def test_a_module_that_imports_nnabla_leaves_the_log_as_it_is(tmp_path):
    """NNabla sets up Python's log with times and names, unless that has been done before."""
    text = 'import nnabla\nfrom common.log import LOG\nLOG.info("it is %s", "here\\x1b")'
    (tmp_path / 'mine.py').write_text(text)
    process = programs.run('-m', 'engine.config', '--import', tmp_path / 'mine.py', '--reference')
    assert process.stderr == 'it is here\\x1b\n'
