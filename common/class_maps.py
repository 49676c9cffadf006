"""What class maps can hold: 8 bits for each pixel, of which one value marks ignored pixels."""

from common.sections import SectionError

MAX_CLASSES = 255  # class indices are 0 to 254; the value 255 marks ignored pixels


def check_num_classes(count: int) -> None:
    """Raise ``SectionError`` if class maps cannot hold the indices of ``count`` classes.

    The message is that of the config key ``num_classes``.
    """
    if not 1 <= count <= MAX_CLASSES:
        raise SectionError(
            'num_classes', f'must be at least 1 and at most {MAX_CLASSES}, not {count}'
        )
