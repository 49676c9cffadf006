from collections.abc import Sequence

from nnabla._nd_array import NdArray
from nnabla._variable import Context

class Communicator:
    rank: int
    local_rank: int
    size: int
    def init(self) -> None: ...
    def all_reduce(
        self,
        data: NdArray | Sequence[NdArray],
        division: bool = False,
        inplace: bool = False,
        group: str = 'world',
    ) -> None: ...
    def bcast(
        self,
        data: NdArray | Sequence[NdArray],
        src: int,
        inplace: bool = False,
        group: str = 'world',
    ) -> None: ...

def MultiProcessCommunicator(context: Context) -> Communicator: ...
