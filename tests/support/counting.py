"""Prints at the end of a command how often it has created a network; for ``--import``."""

import atexit
import sys

import models

create, count = models.create, 0


def counted(*arguments, **options):
    global count
    count += 1
    return create(*arguments, **options)


models.create = models.registry.create = counted
atexit.register(lambda: print(f'networks created: {count}', file=sys.stderr))
