from nnabla._variable import Variable

class NnpNetwork:
    inputs: dict[str, Variable]
    outputs: dict[str, Variable]

class NnpLoader:
    def __init__(self, filepath: str) -> None: ...
    def get_network(self, name: str, batch_size: int | None = None) -> NnpNetwork: ...
