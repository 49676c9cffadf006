"""Test the documents: every command and snippet that they show is run, or says why it is not.

``blocks`` reads a page, ``commands`` the blocks of a shell, ``page_run`` runs all of it. The owners
of pages complete three tables: ``stage`` (data), ``shortened`` (long commands) and ``elsewhere``
(commands that another test runs).
"""
