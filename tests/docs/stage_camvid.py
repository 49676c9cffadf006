"""Chosen frames of CamVid for the pages that show its scores."""

import shutil
from collections.abc import Callable
from pathlib import Path

from support import programs

CAMVID = programs.PROJECT.parent / 'shared' / 'data' / 'camvid'


def frames(**names: tuple[str, ...]) -> Callable[[Path], None]:
    """Return what copies the named images and labels of each split to data/camvid."""

    def stage(folder: Path):
        for split, chosen in names.items():
            for part in (split, f'{split}annot'):
                target = folder / 'data' / 'camvid' / part
                target.mkdir(parents=True)
                for name in chosen:
                    shutil.copyfile(CAMVID / part / f'{name}.png', target / f'{name}.png')

    stage.needs = CAMVID
    return stage
