"""NNabla in several threads: one lock, and the parameters and the context of one network.

NNabla keeps the current scope of parameters and the current context in global variables of the
process, not of a thread, and its memory cache cannot be cleared while a graph runs. So a thread
must hold ``NNABLA_LOCK`` while it builds a graph, runs one, or reads or changes the registered
parameters.
"""

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from threading import RLock
from typing import Any

import nnabla as nn

NNABLA_LOCK = RLock()


class Workspace:
    """The registered parameters and the context of a network's graphs.

    Whatever builds graphs later keeps the workspace in which it was created. It then uses the same
    parameters on the same device in any thread, and next to the networks of other workspaces.

    Args:
        parameters: The root of the parameters' scopes: an empty dictionary makes a workspace of its
            own. By default the current scope.
    """

    def __init__(self, parameters: MutableMapping[str, Any] | None = None) -> None:
        with NNABLA_LOCK:
            self._context = nn.get_current_context()
            current = nn.parameter.get_current_parameter_scope()
        self._parameters = current if parameters is None else parameters

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Make this workspace NNabla's current one, and let no other thread use NNabla."""
        with (
            NNABLA_LOCK,
            nn.context_scope(self._context),
            nn.parameter_scope('', scope=self._parameters),
        ):
            yield
