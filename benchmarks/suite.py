"""python -m benchmarks.suite: the benchmarks of README.md, whose tables are written anew.

It takes less than ten minutes on two cores that do nothing else; the accuracy, for which a folder
must be named, some minutes more.
"""

import json
import runpy
import sys
import tempfile
import time
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

from common import PROJECT
from common.command import Parser, add_options, run_command, settings
from common.errors import UserError
from common.log import LOG
from common.settings import Settings, option

README = PROJECT / 'README.md'
NAMES = ('loader', 'training', 'inference', 'accuracy')
BENCHMARK, EVALUATE = 'benchmarks/__main__.py', 'evaluate.py'
LOADED = ('configs/D3Net_S.yaml', 'configs/D3Net_T_camvid.yaml')  # the first that has its data
TRAINED = ('configs/D3Net_T_camvid.yaml', '128x256')  # config, size
BATCHES = 4  # of a loader's turn
ROUNDS, SECONDS = 3, 1  # what is slow runs once a round, what is fast for so many seconds
# Config, size, rounds, backends, precisions, forms of PyTorch. NNabla takes most of the time, and
# with D3Net-L half a minute a run, so there only its plain form takes part. PyTorch runs in both
# layouts where it is not known which is the faster one.
INFERRED = (
    (
        'configs/D3Net_S.yaml', '512x1024', ROUNDS, ('plain', 'nnabla', 'auto'),
        ('float32', 'bfloat16', 'int8'), ('channels_last',),
    ),
    ('configs/D3Net_L.yaml', '512x1024', 2, ('plain', 'auto'), ('float32',), ('channels_last',)),
    (
        'configs/DDRNet23slim_cityscapes.yaml', '1024x2048', ROUNDS, ('nnabla', 'auto'),
        ('float32',), ('contiguous', 'channels_last'),
    ),
)  # fmt: skip
SCORED, PRECISIONS = 'configs/D3Net_T_camvid.yaml', ('float32', 'bfloat16', 'int8')


@dataclass(frozen=True)
class SuiteSettings(Settings):
    """Which tables are written, from what data, and into which file."""

    only: tuple[str, ...] = option(
        '--only', nargs='+', default=NAMES, choices=NAMES, help='these tables (default: all)'
    )
    data_dir: Path | None = option(
        '-d',
        '--data-dir',
        type=Path,
        metavar='DIR',
        help='Cityscapes, for the loader and the ranges of 8-bit numbers',
    )
    camvid: Path | None = option(
        '--camvid', type=Path, metavar='DIR', help='CamVid, for the accuracy of each precision'
    )
    peer_python: str | None = option(
        '--peer-python', metavar='PYTHON', help='a Python that has torch (default: this one)'
    )
    output: Path = option(
        '-o', '--output', type=Path, default=README, metavar='FILE', help='(default: README.md)'
    )


def build_parser() -> Parser:
    parser = Parser(prog='python -m benchmarks.suite', description=__doc__)
    add_options(parser, SuiteSettings)
    return parser


def main(args: Namespace) -> int:
    return measure(settings(SuiteSettings, args))


def measure(wanted: SuiteSettings) -> int:
    """Run the benchmarks and write their tables; returns the exit status.

    Raises:
        UserError: A named folder or Python cannot be used, or the file cannot take the tables.
    """
    from benchmarks import readme

    runs = {
        'loader': _loader,
        'training': _training,
        'inference': _inference,
        'accuracy': _accuracy,
    }
    chosen, blocks = [name for name in NAMES if name in wanted.only], {}
    readme.check(wanted.output, chosen)
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            started = time.perf_counter()
            documents = runs[name](wanted, Path(folder))
            LOG.info('%s: %.0f s', name, time.perf_counter() - started)
            if documents:
                blocks[name] = readme.markdown(name, documents)
                readme.update(wanted.output, {name: blocks[name]})
    print(f'{wanted.output}: {", ".join(blocks) or "nothing"} written')
    return 0


def _loader(wanted: SuiteSettings, folder: Path) -> list[dict]:
    from engine import config as configs
    from engine.config.data import open_dataset

    for path, own in zip(LOADED, (wanted.data_dir, wanted.camvid)):
        config, own = configs.load(PROJECT / path), own and own.resolve()
        try:
            open_dataset(config, 'train', own)
        except UserError as error:
            if own:
                raise
            LOG.info('loader, %s: skipped, %s', config.name, error)
            continue
        data = ['-d', own] if own else []
        options = ['loader', '-cfg', PROJECT / path, *data]
        return [_run(BENCHMARK, [*options, '--rounds', ROUNDS, '--batches', BATCHES], folder)]
    return []


def _training(wanted: SuiteSettings, folder: Path) -> list[dict]:
    path, size = TRAINED
    options = ['training', '-cfg', PROJECT / path, '--size', size, '--rounds', ROUNDS, '-c', 'cpu']
    return [_run(BENCHMARK, [*options, *_peer(wanted)], folder)]


def _inference(wanted: SuiteSettings, folder: Path) -> list[dict]:
    peer, documents = _peer(wanted), []
    data = ['-d', wanted.data_dir.resolve()] if wanted.data_dir else []
    for path, size, rounds, backends, precisions, forms in INFERRED:
        options = [
            *('inference', '-cfg', PROJECT / path, '--size', size, '-c', 'cpu'),
            *('--rounds', rounds, '--seconds', SECONDS),
            *('--backend', *backends, '--precision', *precisions),
            *(data if 'int8' in precisions else []),
            *([*peer, '--peer-form', *forms] if peer else []),
        ]
        documents.append(_run(BENCHMARK, options, folder))
    return documents


def _accuracy(wanted: SuiteSettings, folder: Path) -> list[dict]:
    """What evaluate.py finds with each precision, as one document of a benchmark."""
    if wanted.camvid is None:
        LOG.info('accuracy: skipped, --camvid names no data')
        return []
    from engine.backends.errors import BackendError

    options = ['-d', wanted.camvid.resolve(), '-cfg', PROJECT / SCORED, '-c', 'cpu']
    reports, left_out = [], {}
    for precision in PRECISIONS:
        try:
            reports.append(_run(EVALUATE, [*options, '--precision', precision], folder))
        except BackendError as error:  # as on a CPU without bfloat16
            left_out[f'left out, {precision}'] = error.what
    return [_scores(reports, left_out)]


def _scores(reports: list[dict], left_out: dict[str, str]) -> dict:
    from common import machine

    first, versions = reports[0]['settings'], reports[0]['versions']
    runtimes = [f'{name} {versions[name]}' for name in ('openvino', 'nncf') if name in versions]
    facts = {
        'config': first['config'],
        'data set': f'{first["dataset"]} {first["split"]}',
        'images': reports[0]['images'],
        'weights': first['weights'],
        'backends': ', '.join(runtimes),
        **left_out,
    }
    results = []
    for report in reports:
        used = report['settings']
        if used['calibration']:
            facts['int8'] = (
                f'ranges from {used["calibration"]["images"]} images of '
                f'{used["calibration"]["source"]}'
            )
        details = {
            'miou': report['miou'],
            'difference': report['miou'] - reports[0]['miou'],
            'pixel_accuracy': report['pixel_accuracy'],
        }
        results.append({'name': f'{used["backend"]} {used["precision"]}', 'details': details})
    return {'machine': machine.describe(), 'settings': facts, 'results': results}


def _peer(wanted: SuiteSettings) -> list[str]:
    """The options for a peer, where there is one; a Python that was named must have it."""
    from benchmarks import peer

    python = wanted.peer_python or sys.executable
    try:
        peer.check(python)
    except UserError as error:
        if wanted.peer_python:
            raise
        LOG.info('PyTorch: skipped, %s', error)
        return []
    return ['--peer', 'pytorch', '--peer-python', python]


def _run(script: str, options: list, folder: Path) -> dict:
    """What a command has written with --json; what it shows is shown. It has a process of its own,
    and that ends with this one.
    """
    from benchmarks.process import Process

    report = folder / 'report.json'
    options = [*map(str, options), '--json', str(report)]
    LOG.info('%s %s', script, ' '.join(options[:-2]))
    process = Process(script, 'give it more memory')
    try:
        process.ask(_command, script, options, folder)
    finally:
        process.close()
    return json.loads(report.read_text())


def _command(script: str, options: list[str], folder: Path):
    """Run a command in this process; its temporary files are removed with ``folder``."""
    tempfile.tempdir = str(folder)
    program = runpy.run_path(str(PROJECT / script))
    program['main'](program['build_parser']().parse_args(options))


if __name__ == '__main__':
    sys.exit(run_command(build_parser, main))
