"""Config keys that select the data set, describe its classes, and say how to read its images."""

from dataclasses import dataclass

from common.sections import Section, config_key

APPLY, IGNORE = 'apply', 'ignore'  # values of exif_orientation
FLOW, IMAGE = 'flow', 'image'  # values of input_kind
MAX_PIXELS = 1 << 29  # 23,170 x 23,170


@dataclass(frozen=True, kw_only=True)
class ImageReading(Section):
    """Keys that say how to read an image file; every function that reads one receives them.

    ``bit_depth`` affects files with 16 bits per channel only. A value v becomes the 8-bit value
    v // 2^(bit_depth - 8), rounded down. Without the key, and with 16, the bits of a file count
    from its highest, which is v // 256 in most formats. ``max_pixels`` holds for labels as well.
    """

    bit_depth: int | None = config_key(
        None,
        'bits that the values in image files of 16 bits per channel really use, such as 12',
        least=8,
        most=16,
        default_text='16, with a warning if an image is nearly black',
    )
    exif_orientation: str | None = config_key(
        None,
        'apply: turn images as their EXIF orientation says, as viewers do; ignore: keep the stored '
        'pixels, for labels that were drawn on those',
        choices=(APPLY, IGNORE),
        default_text='apply, with a warning if a label would not be turned with its image',
    )
    max_pixels: int = config_key(
        MAX_PIXELS,
        'pixels of the largest image or label that is read: a damaged file can claim any number, '
        'and memory is needed for all of them',
        least=1,
    )

    @property
    def conversion(self) -> dict[str, int | str | None]:
        """The keys that decide which pixels an image file becomes, with their values."""
        return {'bit_depth': self.bit_depth, 'exif_orientation': self.exif_orientation}

    @property
    def turns(self) -> bool:
        """Whether images are turned upright."""
        return self.exif_orientation != IGNORE


DEFAULT_READING = ImageReading()


@dataclass(frozen=True, kw_only=True)
class InputKeys(Section):
    """Keys of the second picture of a scene, for networks with two inputs."""

    input_folder: str | None = config_key(
        None,
        'with inputs: 2, folder in that of the data set that has the first picture of each scene, '
        'under the name of the camera image',
        default_text='leftImg8bit_flow_confidence_768x384 of cityscapes, or what dataset.yaml has',
    )
    input_kind: str | None = config_key(
        None,
        'what these pictures are: flow, whose vectors scaling, mirroring and turning change, or '
        'image, such as the frame before',
        choices=(FLOW, IMAGE),
        default_text="the data set's, else flow",
    )


@dataclass(frozen=True, kw_only=True)
class DataKeys(ImageReading, InputKeys):
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
    """Key that rounds the image sides, in training and inference by shorter sides or by area."""

    size_multiple: int = config_key(
        8,
        'both sides are rounded to multiples of this, in pixels; by shorter sides upwards',
        least=1,
    )
