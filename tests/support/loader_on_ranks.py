"""Load an epoch on every MPI rank; rank 0 prints the sample numbers of all ranks as JSON.

Usage: mpirun -n N python loader_on_ranks.py FOLDER, with an empty folder for each rank in it.
"""

import json
import sys
from pathlib import Path

from mpi4py import MPI

sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[1:3]]
from support.numbered_dataset import load, members, write_dataset  # noqa: E402  # see above

comm = MPI.COMM_WORLD
dataset = write_dataset(Path(sys.argv[1]) / str(comm.rank))
with load(dataset, batch_size=1, workers=1).slice(None, comm.size, comm.rank) as loader:
    own = [number for _ in range(5) for number in members(loader.next()[1])]
everyone = comm.gather(own)
if comm.rank == 0:
    print(json.dumps(everyone))
