"""Errors that a user can mend, which commands print as one line."""


class UserError(Exception):
    """Something the user can mend; the message, one line, says what is wrong and what to do."""


class InputError(UserError):
    """One input cannot be used; others may be."""
