class Monitor:
    def __init__(self, save_path: str) -> None: ...

class MonitorSeries:
    name: str
    sp: str
    flush_at: int
    def __init__(
        self, name: str, monitor: Monitor | None = None, interval: int = 1, verbose: bool = True
    ) -> None: ...
    def add(self, index: int, value: float) -> None: ...

class MonitorTimeElapsed:
    name: str
    sp: str
    flush_at: int
    start: float
    def __init__(
        self, name: str, monitor: Monitor | None = None, interval: int = 100, verbose: bool = True
    ) -> None: ...
    def add(self, index: int) -> None: ...
