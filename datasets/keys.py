"""The keys of a config that say which data is used, and what its classes are."""

from dataclasses import dataclass

from common.sections import Section, config_key


@dataclass(frozen=True, kw_only=True)
class DataKeys(Section):
    """The data set of a config."""

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
    train_split: str = config_key('train', 'split that is trained on')
    val_split: str = config_key('val', 'split that is scored')


@dataclass(frozen=True, kw_only=True)
class SizeMultipleKeys(Section):
    """How training and inference by shorter sides round an image's sides."""

    size_multiple: int = config_key(8, 'both sides are multiples of it, in pixels', least=1)
