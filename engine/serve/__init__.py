"""Serve the page and the HTTP interface that segment uploaded pictures.

    from engine.serve import ServeSettings, serve

    serve(ServeSettings())

``python -m engine.serve --help`` lists the options of the command line.
"""

from typing import TYPE_CHECKING

from common import lazy

if TYPE_CHECKING:
    from engine.serve.serving import serve
    from engine.serve.settings import ServeSettings

_HOMES = {'ServeSettings': 'engine.serve.settings', 'serve': 'engine.serve.serving'}
__all__ = ['ServeSettings', 'serve']
__getattr__ = lazy.resolver(__name__, _HOMES)
