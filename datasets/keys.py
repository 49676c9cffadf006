"""Config keys that select the data set and describe its classes."""

from dataclasses import dataclass

from common.sections import Section, config_key


@dataclass(frozen=True, kw_only=True)
class DataKeys(Section):
    """Keys of the data set."""

    dataset: str | None = config_key(
        None,
        'name of the data set; `python -m datasets.prepare --help` lists them',
        default_text='cityscapes with 19 classes, else folder',
    )
    data_dir: str | None = config_key(
        None, 'folder of the data set', default_text='data/<data set>'
    )
    classes: tuple[str, ...] | None = config_key(
        None, 'names of the classes', default_text="the data set's"
    )
    palette: tuple[tuple[int, int, int], ...] | None = config_key(
        None,
        'colours of the classes, red, green and blue',
        least=0,
        most=255,
        default_text="the data set's",
    )
    train_split: str = config_key('train', 'split for training')
    val_split: str = config_key('val', 'split for validation')


@dataclass(frozen=True, kw_only=True)
class SizeMultipleKeys(Section):
    """Key that rounds the image sides in training and inference by shorter sides."""

    size_multiple: int = config_key(
        8, 'both sides are rounded up to multiples of this, in pixels', least=1
    )
