"""python -m benchmarks.suite: run the benchmarks of docs/backends.md and update its tables.

The suite takes less than ten minutes on two idle cores. The accuracy table needs --camvid and takes
some minutes more.
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

PAGE = PROJECT / 'docs' / 'backends.md'
TABLE_NAMES = ('loader', 'training', 'inference', 'accuracy')
BENCHMARK, EVALUATE = 'benchmarks/__main__.py', 'evaluate.py'
# The first config whose data set is found is measured.
LOADER_CONFIGS = ('configs/D3Net_S.yaml', 'configs/D3Net_T_camvid.yaml')
TRAINING_RUN = ('configs/D3Net_T_camvid.yaml', '128x256')  # config, size
LOADER_BATCHES = 4  # per turn
ROUNDS, SECONDS = 3, 1  # slow contestants run once per round, fast ones repeat for SECONDS
# Config, size, rounds, backends, precisions, forms of PyTorch. NNabla takes most of the time: half
# a minute per run of D3Net-L, so there only its plain form is measured. PyTorch runs in both
# layouts where the faster one is unknown.
INFERENCE_RUNS = (
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
ACCURACY_CONFIG = 'configs/D3Net_T_camvid.yaml'
ACCURACY_PRECISIONS = ('float32', 'bfloat16', 'int8')


@dataclass(frozen=True)
class SuiteSettings(Settings):
    """Options of the suite: tables, data sets and output file."""

    only: tuple[str, ...] = option(
        '--only',
        action='extend',
        nargs='+',
        default=TABLE_NAMES,
        choices=TABLE_NAMES,
        help='tables to update (default: all)',
    )
    data_dir: Path | None = option(
        '-d',
        '--data-dir',
        type=Path,
        metavar='DIR',
        help='folder of Cityscapes, for the loader and the calibration of int8',
    )
    camvid: Path | None = option(
        '--camvid', type=Path, metavar='DIR', help='folder of CamVid, for the accuracy table'
    )
    peer_python: str | None = option(
        '--peer-python', metavar='PYTHON', help='a Python with torch and numpy (default: this one)'
    )
    output: Path = option(
        '-o',
        '--output',
        type=Path,
        default=PAGE,
        metavar='FILE',
        help='Markdown file to update (default: docs/backends.md)',
    )


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(prog='python -m benchmarks.suite', description=__doc__)
    add_options(parser, SuiteSettings)
    return parser


def main(args: Namespace) -> int:
    """Run the suite with parsed options; return the exit status."""
    return run_suite(settings(SuiteSettings, args))


def run_suite(wanted: SuiteSettings) -> int:
    """Run the benchmarks and update their tables; return the exit status.

    Raises:
        UserError: A data folder or the Python is unusable, or the output file lacks a marker.
    """
    from benchmarks import markdown_tables

    runs = {
        'loader': _loader,
        'training': _training,
        'inference': _inference,
        'accuracy': _accuracy,
    }
    chosen, blocks = [name for name in TABLE_NAMES if name in wanted.only], {}
    markdown_tables.require_blocks(wanted.output, chosen)
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            started = time.perf_counter()
            documents = runs[name](wanted, Path(folder))
            LOG.info('%s: %.0f s', name, time.perf_counter() - started)
            if documents:
                blocks[name] = markdown_tables.markdown_table(name, documents)
                markdown_tables.update_blocks(wanted.output, {name: blocks[name]})
    print(f'{wanted.output}: {", ".join(blocks) or "nothing"} written')
    return 0


def _loader(wanted: SuiteSettings, folder: Path) -> list[dict]:
    from engine import config as configs
    from engine.config.data import open_dataset

    for path, own in zip(LOADER_CONFIGS, (wanted.data_dir, wanted.camvid)):
        config, own = configs.load(PROJECT / path), own and own.resolve()
        try:
            open_dataset(config, 'train', own)
        except UserError as error:
            if own:
                raise
            LOG.info('loader, %s: skipped: %s', config.name, error)
            continue
        data = ['-d', own] if own else []
        options = ['loader', '-cfg', PROJECT / path, *data]
        return [
            _run_command(
                BENCHMARK, [*options, '--rounds', ROUNDS, '--batches', LOADER_BATCHES], folder
            )
        ]
    return []


def _training(wanted: SuiteSettings, folder: Path) -> list[dict]:
    path, size = TRAINING_RUN
    options = ['training', '-cfg', PROJECT / path, '--size', size, '--rounds', ROUNDS, '-c', 'cpu']
    return [_run_command(BENCHMARK, [*options, *_peer_options(wanted)], folder)]


def _inference(wanted: SuiteSettings, folder: Path) -> list[dict]:
    peer, documents = _peer_options(wanted), []
    data = ['-d', wanted.data_dir.resolve()] if wanted.data_dir else []
    for path, size, rounds, backends, precisions, forms in INFERENCE_RUNS:
        options = [
            *('inference', '-cfg', PROJECT / path, '--size', size, '-c', 'cpu'),
            *('--rounds', rounds, '--seconds', SECONDS),
            *('--backend', *backends, '--precision', *precisions),
            *(data if 'int8' in precisions else []),
            *([*peer, '--peer-form', *forms] if peer else []),
        ]
        documents.append(_run_command(BENCHMARK, options, folder))
    return documents


def _accuracy(wanted: SuiteSettings, folder: Path) -> list[dict]:
    """Run evaluate.py in each precision; return one benchmark document."""
    if wanted.camvid is None:
        LOG.info('accuracy: skipped, no --camvid')
        return []
    from engine.backends.errors import BackendError

    options = ['-d', wanted.camvid.resolve(), '-cfg', PROJECT / ACCURACY_CONFIG, '-c', 'cpu']
    reports, left_out = [], {}
    for precision in ACCURACY_PRECISIONS:
        try:
            reports.append(_run_command(EVALUATE, [*options, '--precision', precision], folder))
        except BackendError as error:  # for example, the CPU lacks bfloat16
            left_out[f'left out, {precision}'] = error.what
    return [_accuracy_document(reports, left_out)]


def _accuracy_document(reports: list[dict], left_out: dict[str, str]) -> dict:
    from common import machine

    first, versions = reports[0]['settings'], reports[0]['versions']
    runtimes = [f'{name} {versions[name]}' for name in ('openvino', 'nncf') if name in versions]
    facts = {
        'config': first['config'],
        'data set': f'{first["dataset"]} {first["split"]}',
        'images': reports[0]['images'],
        'weights': Path(first['weights']).name,
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


def _peer_options(wanted: SuiteSettings) -> list[str]:
    """Return the options for PyTorch; an empty list if --peer-python and torch are missing."""
    from benchmarks import peer

    python = wanted.peer_python or sys.executable
    try:
        peer.require_torch(python)
    except UserError as error:
        if wanted.peer_python:
            raise
        LOG.info('PyTorch: skipped: %s', error)
        return []
    return ['--peer', 'pytorch', '--peer-python', python]


def _run_command(script: str, options: list, folder: Path) -> dict:
    """Run a command in a worker process and return its --json document.

    The worker process shows the command's output, and exits when this process exits.
    """
    from benchmarks.worker_process import WorkerProcess

    report = folder / 'report.json'
    options = [*map(str, options), '--json', str(report)]
    LOG.info('%s %s', script, ' '.join(options[:-2]))
    process = WorkerProcess(script, 'give it more memory')
    try:
        process.call(_execute, script, options, folder)
    finally:
        process.close()
    return json.loads(report.read_text(encoding='utf-8'))


def _execute(script: str, options: list[str], folder: Path):
    """Run a command in this process, with its temporary files in ``folder``."""
    tempfile.tempdir = str(folder)
    program = runpy.run_path(str(PROJECT / script))
    program['main'](program['build_parser']().parse_args(options))


if __name__ == '__main__':
    sys.exit(run_command(build_parser, main))
