"""What a user of the networks can get wrong."""

from common.errors import UserError


class ModelError(UserError):
    """A network or its weights cannot be had as asked; the message says what is wrong and what to
    do.
    """


class HyperParameterError(ModelError):
    """A hyper-parameter is missing, unknown or out of range; ``key`` names it."""

    def __init__(self, key: str, problem: str):
        super().__init__(f'{key}: {problem}')
        self.key = key
        self.problem = problem
