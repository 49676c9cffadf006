"""A runtime's exceptions become errors of one line, with the runtime's own reason."""

import pytest

from common.errors import UserError
from engine.backends.errors import BackendError
from support import backend_runs
from support.backend_runs import EXPORTS, create_backend, random_input


@pytest.mark.parametrize('name', EXPORTS)
def test_a_failing_run_raises_a_one_line_error(tiny, disk_cache, name):
    made, x = create_backend(name, tiny, disk_cache), random_input(tiny)
    backend_runs.replace_model_by_another_shape(made, x.shape)
    with pytest.raises(
        UserError, match=f'^{name} failed at 64x96 .*; use --backend nnabla'
    ) as error:
        made.run(x)
    assert '\n' not in str(error.value)
    assert 'xpect' in str(error.value)  # part of the runtime's own message


@pytest.mark.parametrize('name', EXPORTS)
def test_an_invalid_onnx_file_is_rejected(tiny, disk_cache, name):
    runtime = create_backend(name, tiny, disk_cache).runtime
    with pytest.raises(BackendError, match=f'{name} does not support this network'):
        runtime.compile(b'no network', None)
