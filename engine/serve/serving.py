"""Run the server of the settings until a signal ends it."""

import importlib.util
import signal

from common.errors import UserError
from engine.serve.settings import ServeSettings

PACKAGES = ('fastapi', 'uvicorn', 'python_multipart', 'fastapi_offline')


def serve(settings: ServeSettings) -> int:
    """Load the default model, open the port, and answer requests until a signal arrives.

    Returns:
        The exit status.

    Raises:
        UserError: A package is missing, or the model or the address cannot be used.
    """
    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f'the package {package} is not installed; make serve-environment, or python -m '
                'pip install -r requirements.txt -r requirements-serve.txt'
            )
    # NNabla crashes if Ctrl-C interrupts its import, so that the signal waits for its end.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        from engine.serve.server import run_server
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return run_server(settings)
