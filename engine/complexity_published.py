"""The numbers that TI published beside those of the graphs here, in Markdown, as in README.md.

TI's table counts the convolutions of most networks, as :mod:`models.complexity` does. Each number
that differs by more than :data:`AGREES` has an explanation, and where that is another way to count,
it is counted (:mod:`engine.complexity_tidl`) and compared with TI's number in all its digits.
"""

from collections.abc import Callable
from dataclasses import dataclass

import models
from engine import complexity_tidl
from engine.complexity_tables import by
from engine.complexity_tidl import Export
from models import complexity

SOURCE = (
    'TexasInstruments/edgeai-torchvision, commit f85ec314af3813e12dd45db49eb6ab1dcb500ed5, '
    'references/edgeailite/docs/semantic_segmentation.md'
)
AGREES = 0.01  # GigaMACs


@dataclass(frozen=True)
class Published:
    """A row of TI's table; ``network`` lacks ``_edgeailite``, size is (height, width)."""

    dataset: str
    network: str
    num_classes: int
    size: tuple[int, int]
    gmacs: float


def _rows(dataset, num_classes, *rows):
    return tuple(
        Published(dataset, network, num_classes, size, gmacs) for network, size, gmacs in rows
    )


PUBLISHED = (
    *_rows(
        'ADE20K32', 32,
        ('deeplabv3plus_mobilenetv2_tv', (512, 512), 3.28),
        ('unet_aspp_mobilenetv2_tv', (512, 512), 2.427),
        ('fpn_aspp_mobilenetv2_tv', (512, 512), 3.481),
        ('fpn_aspp_mobilenetv2_1p4_tv', (512, 512), 6.646),
        ('fpn_aspp_regnetx400mf', (384, 384), 3.1526),
        ('fpn_aspp_regnetx800mf', (512, 512), 8.0683),
    ),
    *_rows(
        'COCOSeg21', 21,
        ('deeplabv3plus_mobilenetv2_tv', (512, 512), 3.161),
        ('unet_aspp_mobilenetv2_tv', (512, 512), 2.009),
        ('fpn_aspp_mobilenetv2_tv', (512, 512), 3.357),
        ('fpn_aspp_regnetx800mf', (512, 512), 7.864),
    ),
    *_rows(
        'Cityscapes', 19,
        ('fpn_aspp_regnetx800mf', (384, 768), 8.84),
        ('fpn_aspp_regnetx1p6gf', (512, 1024), 24.29),
        ('fpn_aspp_regnetx3p2gf', (512, 1024), 49.40),
        ('fpn_aspp_regnetx3p2gf', (768, 1536), 111.16),
        ('fpn_aspp_regnetx400mf', (384, 768), 6.09),
        ('fpn_aspp_regnetx400mf', (768, 1536), 24.37),
        ('deeplabv3plus_mobilenetv2_tv', (384, 768), 3.54),
        ('unet_aspp_mobilenetv2_tv', (384, 768), 2.20),
        ('fpn_aspp_mobilenetv2_tv', (384, 768), 3.84),
        ('fpn_aspp_mobilenetv2_tv', (768, 1536), 15.07),
        ('fpn_aspp_mobilenetv2_tv_fd', (768, 1536), 3.96),
        ('fpn_aspp_mobilenetv2_tv_fd', (1024, 2048), 7.03),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Explanation:
    """Why numbers of TI's table are not those of the convolutions.

    name: a few words for the table. applies: to which of its rows. export: what the import tool
    counts instead, None where nothing else is counted. published: TI's number for that, where it is
    not the row's. text: the note under the table.
    """

    name: str
    applies: Callable[[Published], bool]
    text: str
    export: Export | None = None
    published: float | None = None


EXPLANATIONS = (
    Explanation(
        'import tool, small logits',
        lambda row: row.dataset == 'ADE20K32' and 'mobilenetv2' in row.network,
        'What TI published is not the count of the convolutions. The logs of the same trainings '
        'have that one, and it is the one here to all digits (TexasInstruments/edgeai-modelzoo, '
        'commit 52e8f70e481e7f9646e12d45a11e7a9ce6f29119, '
        'models/vision/segmentation/ade20k32/edgeai-tv/*.log). It agrees with what the import '
        "tool of TI's library TIDL counts: besides the convolutions, 1 for each output of ReLU, "
        'batch norm, addition, concatenation and argmax, and 4 for each of resizing '
        '(engine/complexity_tidl.py). The export without the last upsampling (outby4, of the UNet '
        "outby2), with batch norms folded and the argmax at the logits' size, has all digits of "
        "TI's number. The rules are in the tool's source; that it was this tool and which export "
        'it counted is inferred from the numbers.',
        Export(final_resize=False),
    ),
    Explanation(
        'import tool, full size',
        lambda row: row.dataset == 'ADE20K32' and 'regnetx' in row.network,
        'As 1, but the export that ends at the size of the image, with batch norms that are not '
        'folded.',
        Export(final_resize=True, batch_norm=True),
    ),
    Explanation(
        "contradicted by TI's 26.49",
        lambda row: row.gmacs == 24.29,
        "Where 24.29 is from was not found. TI contradicts it: another of TI's tables has 26.49 "
        'for the same network at the same size and with the same accuracy, 75.84 '
        '(TexasInstruments/edgeai-torchvision, commit f9ef7c5b4c3ef9bf02f950642bf05778ed6b2fdb, '
        'docs/pixel2pixel/Quantization.md). That is the count here and what the tool adds for '
        'additions, concatenation, all resizing, the argmax and the normalisation of the image, '
        'without ReLU; the other two networks with RegNetX in that table, 8.90 and 111.46, are met '
        'in the same way.',
        Export(final_resize=True, activation=False, normalisation=True),
        published=26.49,
    ),
    Explanation(
        "contradicted by TI's 15.07",
        lambda row: row.gmacs == 3.84,
        "Where 3.84 is from was not found; TI's other table has it, too. TI contradicts it: its "
        '15.07 for the same network at 768x1536, four times the pixels, is four times 3.77, which '
        'is the count here. None of the ways to count above gives 3.84. With 34 classes the count '
        'of the convolutions would be 3.838, but TI trains with 19.',
    ),
)


def published() -> str:
    """TI's numbers beside those of the graphs here, and notes on all that differ by more than
    :data:`AGREES`. Raises ``ValueError`` when one differs that has no explanation, or when what
    the import tool counts is not TI's number.
    """
    lines = [
        '| data set | network (`*_edgeailite`) | classes | size | TI | here | difference '
        '| explanation |',
        '| --- | --- | ---: | --- | ---: | ---: | ---: | --- |',
    ]
    notes = []
    for row in PUBLISHED:
        gmacs = computed(row)
        explained = ''
        if abs(gmacs - row.gmacs) > AGREES:
            explanation = next((e for e in EXPLANATIONS if e.applies(row)), None)
            if explanation is None:
                raise ValueError(f'{row}: differs from {gmacs:.3f} without an explanation')
            if explanation not in notes:
                notes.append(explanation)
            explained = f'{explanation.name}{_recounted(row, explanation)} '
            explained += f'({notes.index(explanation) + 1}) '
        lines.append(
            f'| {row.dataset} | {row.network} | {row.num_classes} | {by(row.size)} '
            f'| {_digits(row.gmacs)} | {gmacs:.3f} | {gmacs - row.gmacs:+.3f} | {explained}|'
        )
    lines += ['', f'Source: {SOURCE}.', '']
    lines += [f'{i}. {explanation.text}' for i, explanation in enumerate(notes, 1)]
    return '\n'.join(lines)


def _recounted(row: Published, explanation: Explanation) -> str:
    """What the import tool counts of a row, with one digit at least more than TI's number."""
    if explanation.export is None:
        return ''
    gmacs = complexity_tidl.count(_network(row), row.size, explanation.export) / 1e9
    wanted = _digits(explanation.published or row.gmacs)
    decimals = len(wanted.partition('.')[2])
    if f'{gmacs:.{decimals}f}' != wanted:
        raise ValueError(f'{row}: explained by {gmacs:.5f}, which is not {wanted}')
    return f': {gmacs:.5f}'


def _digits(gmacs: float) -> str:
    """As published: two decimals, or as many as there are."""
    return max(f'{gmacs:.2f}', f'{gmacs:g}', key=len)


def computed(row: Published) -> float:
    """GigaMACs of the convolutions of the network of a published row."""
    return complexity.count(_network(row), row.size)[0] / 1e9


def _network(row: Published):
    return models.create(f'{row.network}_edgeailite', num_classes=row.num_classes)
