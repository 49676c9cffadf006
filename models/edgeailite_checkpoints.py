"""Names and shapes of EdgeAI-Lite checkpoints: inputs, tasks, and where parameters can start from.

Reference: TexasInstruments/edgeai-torchvision, commit f85ec314af3813e12dd45db49eb6ab1dcb500ed5,
references/edgeailite/edgeai_xvision/xvision/models, multi_input_net.py for the names of streams and
pixel2pixel/pixel2pixelnet.py for those of decoders; edgeai-modeloptimization, commit
6f4732f4371dac78b23c4fe36dd12692ac18cb54, xnn/utils/load_weights.py for copying ``decoders.0``.

Differs from the original: blocks of a RegNetX, which are counted within a stream and named
otherwise without streams, are found under both names. The original loads none of them.
"""

import re
from collections.abc import Mapping

from common.class_maps import MAX_CLASSES
from common.tasks import MAX_INPUTS, MAX_TASKS
from models.encoders import regnet
from models.structure import SINGLE, Structure

_STREAM_OF_NAME = re.compile(r'encoder\.features\.stream(\d)\.')
_OUTPUT_OF_NAME = re.compile(r'decoders\.(\d)\.pred\.1\.0\.weight$')
_STREAM = re.compile(r'(encoder/features/)stream(\d)/(\d+)/(.*)')
_DECODER = re.compile(r'(decoders/)(\d)/(.*)')


def structure_of(shapes: Mapping[str, tuple[int, ...]]) -> Structure:
    """Return the inputs and tasks of a checkpoint by its names.

    Args:
        shapes: Shapes by the original's names, before which other text may stand.

    Returns:
        The structure; ``SINGLE`` for one input and one task, and for checkpoints with more inputs,
        tasks or classes than a network can have.
    """
    streams = {int(found[1]) for name in shapes if (found := _STREAM_OF_NAME.search(name))}
    channels = {
        int(found[1]): shape[0]
        for name, shape in shapes.items()
        if (found := _OUTPUT_OF_NAME.search(name)) and shape
    }
    of_tasks = tuple(channels[number] for number in sorted(channels))
    structure = Structure(max(streams, default=0) + 1, of_tasks)
    possible = (
        structure.inputs <= MAX_INPUTS
        and len(of_tasks) <= MAX_TASKS
        and all(1 <= count <= MAX_CLASSES for count in of_tasks)
    )
    return structure if possible and not structure.is_single else SINGLE


def initial_names(name: str) -> list[str]:
    """Return the names under which other files have the values that a parameter can start from.

    A block of a stream starts from that of the first stream, or of an encoder without streams. A
    decoder starts from the first decoder.

    Args:
        name: NNabla's name of the parameter.
    """
    if found := _STREAM.fullmatch(name):
        encoder, stream, block, rest = found.groups()
        names = [f'{encoder}stream0/{block}/{rest}'] if stream != '0' else []
        spellings = [block, *regnet.SCOPES[int(block) : int(block) + 1]]
        return names + [f'{encoder}{spelling}/{rest}' for spelling in spellings]
    found = _DECODER.fullmatch(name)
    return [f'{found[1]}0/{found[3]}'] if found and found[2] != '0' else []
