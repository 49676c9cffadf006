"""Check the outputs of datasets.prepare before its actions run."""

from collections.abc import Iterable
from pathlib import Path

from common.writing.protected_files import ProtectedFiles
from datasets import protection
from datasets.loading import pack


def check_outputs(
    name: str,
    root: Path,
    list_file: Path | None,
    packed: Path | None,
    splits: Iterable[str],
    json_file: Path | None,
) -> None:
    """Refuse outputs that would overwrite other files, or be mixed with those of the data set.

    Args:
        name: Name of the data set.
        root: Folder of the data set.
        list_file: The list in place of the splits.
        packed: Folder to write packed data into, a folder for each split.
        splits: Splits that may be packed.
        json_file: File to write the results to.

    Raises:
        UserError: The message names the option and the path.
    """
    protected = ProtectedFiles()
    protection.protect_dataset(protected, name, root, list_file=list_file)
    already = [folder / file for folder in pack.packed_folders(root) for file in pack.FILES]
    protected.add('a file of packed data', already)
    if packed is not None:
        for folder in (packed, *(packed / split for split in splits)):
            protection.check_folder('--pack', folder, name, root)
        for split in splits:
            pack.check_target(packed / split)
            for file in pack.FILES:
                protected.claim('--pack', packed / split / file)
    if json_file is not None:
        protected.claim_json('--json', json_file)
