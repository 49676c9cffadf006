"""A checked config, which knows where each of its values comes from."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.sections import SectionError, plain
from engine.config.published_score import PublishedScore
from engine.runs.run_folder import RunFolder

Origins = dict[str, Path | str]  # by key, the file or the option that sets it


class Config(Mapping[str, Any]):
    """A checked config, as a mapping from keys to values.

    Attributes:
        path: The config file.
        run: The run whose effective config the file is; None for any other config.
        published: The score that the file itself quotes, which is no key; None if it quotes none.
        name: The file's name without the suffix, or the name of the run's folder.
        named: Whether the user named the file; it is the default one otherwise.
    """

    def __init__(
        self,
        path: Path,
        values: dict[str, Any],
        origins: Origins,
        run: RunFolder | None = None,
        named: bool = True,
        published: PublishedScore | None = None,
    ):
        self.path, self.run, self.named, self.published = path, run, named, published
        self._values, self._origins = values, origins
        self.name = path.stem if run is None else run.path.name

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def origin(self, key: str) -> str:
        """Return the file or the option that sets ``key``."""
        return str(self._origins.get(key, self.path))

    @contextmanager
    def naming_origins(self) -> Iterator[None]:
        """Add to a ``SectionError`` where the keys of its message are set."""
        try:
            yield
        except SectionError as error:
            found = {key: self.origin(key) for key in error.keys if key in self}
            if len(found) > 1:
                where = '; '.join(f'{key}: {origin}' for key, origin in found.items())
            else:
                where = next(iter(found.values()), str(self.path))
            raise UserError(f'{error} ({where})') from error

    def given(self) -> list[str]:
        """Return the keys that options of the command line set."""
        origins = self._origins.items()
        return [key for key, origin in origins if str(origin).startswith('-') and key in self]

    def files(self) -> set[Path]:
        """Return the config file and those of its bases that set a key."""
        return {self.path, *(o for o in self._origins.values() if isinstance(o, Path))}

    def completed(self, values: Mapping[str, Any], origin: str) -> 'Config':
        """Return the config with ``values`` added for the keys that it lacks.

        Args:
            values: Checked values by key.
            origin: Where the values come from, for :meth:`origin`.
        """
        missing = {key: plain(values[key]) for key in values if key not in self}
        origins = self._origins | dict.fromkeys(missing, origin)
        return self._with({**self._values, **missing}, origins)

    def without(self, key: str) -> 'Config':
        """Return the config without a key."""
        values = {other: value for other, value in self._values.items() if other != key}
        return self._with(values, self._origins)

    def _with(self, values: dict[str, Any], origins: Origins) -> 'Config':
        """Return the config of the same file with other values."""
        return Config(self.path, values, origins, self.run, self.named, self.published)
