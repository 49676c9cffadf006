"""Files that python -m engine.export wrote from a tiny network, to be run."""

import re

from engine.onnx import seal
from support import export_runs, stand_ins
from support.tiny_config import balance, write_tiny_config

IMAGE = stand_ins.image(45, 61)  # its labels vary


def written(folder, name, *options, **keys):
    """Export a tiny network for CamVid; return the options of its config, and the file.

    Args:
        folder: Folder for the config, the weights and the file.
        name: Name of the file.
        *options: Further options of the command.
        **keys: Further keys of the config.
    """
    path = write_tiny_config(folder, 'camvid', 11, **keys)
    balance(path, IMAGE)
    config = ('-cfg', path)
    assert export_runs.started(*config, '-o', folder / name, *options) == 0
    return config, folder / name


def resealed(content):
    """Return a file whose checksum is right again."""
    unsealed = re.sub(seal.MARK.encode() + rb'\w{64}', seal.PLACEHOLDER.encode(), content)
    return seal.sealed(unsealed)
