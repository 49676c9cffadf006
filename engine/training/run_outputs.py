"""Check that a new run overwrites no file that it is made from."""

from pathlib import Path

from common.writing.protected_files import ProtectedFiles
from datasets import Dataset, protection
from engine.config import Config
from engine.config.data import data_root
from engine.runs.log_file import LOG_FILE
from engine.runs.run_folder import RunFolder
from models import weights
from models.family import NetworkKeys


def check_folder(
    folder: RunFolder, config: Config, dataset: Dataset, resumed: Path | None, own: bool
) -> None:
    """Check that a run may write into its folder; change nothing.

    A new run must not overwrite another run, its own inputs, or files of the data set.

    Args:
        folder: Folder of the run.
        config: Config of the run.
        dataset: Images to train on.
        resumed: State from which the run starts; None without one.
        own: Whether that state is in the folder, so that the run in it goes on.

    Raises:
        UserError: The message names the file or the folder.
    """
    folder.check_vacant(resume=own)
    if own:
        return
    name = dataset.info.name
    protection.check_folder('-o', folder.path, name, data_root(config), dataset.samples)
    # A run that was killed before its first state starts again with its own config.
    written = folder.config.resolve() if config.run else None
    inputs = [path for path in config.files() if path != written]
    protected = ProtectedFiles().add('a config of the new run', inputs)
    protected.add('the state to resume from', [resumed])
    pretrained = NetworkKeys.of(config).pretrained
    if pretrained:
        protected.add('the file of initial weights', [weights.stored(pretrained)])
    log = folder.path / LOG_FILE
    for path in (folder.config, folder.state, folder.best, folder.final, log):
        protected.claim('-o', path, 'name another folder')
