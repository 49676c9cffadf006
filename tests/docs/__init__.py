"""The documents are true: every command and snippet that they show is run, or says why it is not.

``blocks`` reads a page, ``commands`` its sh blocks, ``page_run`` runs them; ``stage``, ``shortened`` and
``elsewhere`` are tables that the owners of pages complete.
"""
