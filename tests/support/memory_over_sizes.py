"""Print how much more memory a predictor needs for growing images than for the last one alone.

This is a separate program, because a test process would meanwhile release the memory of other
tests.
"""

import models
from engine.device import context
from engine.inference.predictor import Predictor
from support import stand_ins


def resident_mib():
    """Return the resident memory of this process in MiB."""
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * 4096 / 2**20


def mib_over_mixed_sizes():
    """Return the excess in MiB; no image fits into the memory that NNabla cached before it."""
    choice = context.use('cpu')

    def release():
        context.release_cached_memory(choice)

    predictor = Predictor(models.create('d3net_t'), release)
    sizes, most = [(96 + 16 * i, 128 + 12 * i) for i in range(8)], 0
    for size in sizes:
        predictor.labels(stand_ins.image(*size))
        most = max(most, resident_mib())
    release()
    fresh = Predictor(models.create('d3net_t'), release)
    fresh.labels(stand_ins.image(*sizes[-1]))
    return most - resident_mib()


if __name__ == '__main__':
    print(mib_over_mixed_sizes())
