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

from layers import graph

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

    def check_graph(self, output: nn.Variable) -> None:
        """Check that a graph has been built in this workspace throughout.

        Raises:
            RuntimeError: A trainable parameter is of another scope: another thread has changed
                NNabla's current scope without the lock, so results would be wrong.
        """
        with nn.parameter_scope('', scope=self._parameters):
            own = {parameter.data for parameter in nn.get_parameters(grad_only=False).values()}
        for function in graph.functions(output):
            for variable in function.inputs:
                if variable.parent is None and variable.need_grad and variable.data not in own:
                    raise RuntimeError(
                        'another thread has changed the parameter scope of NNabla, which all '
                        'threads share, while a graph was built: build networks inside of '
                        'layers.workspace.Workspace({}).entered() there'
                    )
