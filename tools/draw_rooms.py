"""Draw docs/figures/rooms.svg: the packages and the rooms of engine, each above what it imports.

    python tools/draw_rooms.py

The order is that of the contracts in pyproject.toml, which import-linter enforces.
"""

from pathlib import Path

import tomli

PROJECT = Path(__file__).resolve().parent.parent
PICTURE = PROJECT / 'docs' / 'figures' / 'rooms.svg'
CONTENTS = {
    'scripts': 'train.py, evaluate.py, infer.py',
    'benchmarks': 'times of loader, training and inference',
    'fuzz': 'damaged files for every reader',
    'models': 'networks, weights, conversion, complexity',
    'datasets': 'readers, augmentations, loader, preparation',
    'd3net': 'the graph of D3Net',
    'layers': 'convolutions, norms, recomputation',
    'common': 'errors, log, command line, files, downloads',
    'report': 'curves and summary of a run',
    'training': 'trainer, losses, solvers, resuming',
    'evaluation': 'scores of a split',
    'export': 'ONNX, NNP, NNB',
    'environment': 'what works here',
    'serve': 'page and HTTP',
    'zoo': 'table of configs',
    'options': 'options of earlier versions',
    'inference': 'image to labels, videos',
    'backends': 'NNabla, OpenVINO, ONNX Runtime',
    'distributed': 'MPI processes, gradient sums',
    'config': 'YAML, schema, overrides',
    'device': 'CPU or GPU, CUDA extension',
    'onnx': 'NNabla graph to ONNX',
    'runs': 'run folder, checkpoints, log',
}
WIDTH, MARGIN, GAP, HEIGHT, TITLE = 840, 16, 10, 52, 32  # pixels
STYLE = """
    text { font-family: Helvetica, Arial, sans-serif; fill: #1f2933 }
    .name { font-size: 16px; font-weight: bold } .content { font-size: 13px }
    .room { fill: #ffffff; stroke: #52606d } .house { fill: #eef2f6; stroke: #52606d }
    .note { font-size: 14px; font-style: italic }
"""


def main() -> None:
    """Write the picture."""
    PICTURE.write_text(picture(), encoding='utf-8')


def picture() -> str:
    """Return the picture as SVG, ``WIDTH`` pixels wide."""
    packages, rooms = _contracts()
    shapes, top = [], MARGIN
    for floor in [['scripts'], *packages]:
        if floor == ['engine']:
            height = TITLE + len(rooms) * (HEIGHT + GAP)
            shapes.append(_box('house', MARGIN, top, WIDTH - 2 * MARGIN, height))
            shapes.append(_text('name', 2 * MARGIN, top + 21, 'engine'))
            for number, row in enumerate(rooms):
                shapes += _row(row, 2 * MARGIN, top + TITLE + number * (HEIGHT + GAP))
        else:
            height = HEIGHT
            shapes += _row(floor, MARGIN, top)
        top += height + GAP
    note = 'A box imports from boxes below it, never from those above or beside it.'
    shapes.append(_text('note', MARGIN, top + 12, note))
    height = top + 12 + MARGIN
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">'
    background = f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
    lines = [head, f'<style>{STYLE}</style>', background, *shapes, '</svg>']
    return '\n'.join(lines) + '\n'


def _contracts() -> tuple[list[list[str]], list[list[str]]]:
    """Return the floors of packages, and those of the rooms of engine, the highest first."""
    contracts = tomli.loads((PROJECT / 'pyproject.toml').read_text(encoding='utf-8'))['tool'][
        'importlinter'
    ]
    layers = {
        tuple(contract.get('containers', ())): [floor.split(' | ') for floor in contract['layers']]
        for contract in contracts['contracts']
        if contract['type'] == 'layers'
    }
    return layers[()], layers['engine',]


def _row(names: list[str], left: int, top: int) -> list[str]:
    """Return the boxes of one floor side by side."""
    width = (WIDTH - 2 * left - (len(names) - 1) * GAP) / len(names)
    shapes = []
    for number, name in enumerate(names):
        x = left + number * (width + GAP)
        shapes.append(_box('room', x, top, width, HEIGHT))
        shapes.append(_text('name', x + 12, top + 22, name))
        shapes.append(_text('content', x + 12, top + 40, CONTENTS[name]))
    return shapes


def _box(kind: str, x: float, y: float, width: float, height: float) -> str:
    return (
        f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6"/>'
    )


def _text(kind: str, x: float, y: float, text: str) -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{text}</text>'


if __name__ == '__main__':
    main()
