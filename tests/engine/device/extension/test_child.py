"""The child process that imports mpi4py and the CUDA extension, one stage after the other."""

import os

from support import programs
from support.cuda_extension import FAKE_EXTENSION


def test_a_crash_of_mpi4py_disables_only_the_communicator(installed, tmp_path):
    """The extension remains usable, on one GPU."""
    variables = installed(FAKE_EXTENSION)
    broken = tmp_path / 'broken'
    (broken / 'mpi4py').mkdir(parents=True)
    (broken / 'mpi4py' / '__init__.py').write_text('import os\nos.abort()\n')
    variables['PYTHONPATH'] = f'{broken}{os.pathsep}{variables["PYTHONPATH"]}'
    program = (
        'from engine.device import extension\nprint(extension.load().HOME)\n'
        'print(extension.examine().communicator)\n'
    )
    process = programs.run('-c', program, **variables)
    assert process.returncode == 0, process.stderr
    expected = 'is not registered: the import of mpi4py ends with an abort: '
    assert process.stdout.splitlines()[-1].startswith(expected)
