"""Export a network, from the settings to the file and its check."""

import re
from pathlib import Path

import models
from common import files
from common.command import DONE
from common.errors import UserError
from common.log import LOG
from common.terminal.printable import one_line
from common.writing.protected_files import ProtectedFiles
from datasets.keys import ImageReading
from engine.backends.calibration import find_images
from engine.config import loading as configs
from engine.config import task_classes
from engine.config.config import Config
from engine.config.reading import PATH_KEYS
from engine.device.settings import DeviceSettings
from engine.export import writers
from engine.export.exporter import export
from engine.export.settings import NAMED_SIZES, ExportSettings, FormSettings
from engine.export.spec import (
    DYNAMIC,
    FLEXIBLE_ENDINGS,
    INT8,
    NORMALISED,
    OPENVINO_ENDING,
    ExportSpec,
    check_size,
    checked_sizes,
)
from engine.inference.config_size import named_sizes
from engine.inference.input_files import network_files
from engine.inference.loading import LoadedNetwork, load
from engine.inference.predictor import Predictor
from engine.inference.test_time import configured_protocol
from models import complexity
from models.family import NetworkInfo, NetworkKeys

REFERENCE = DeviceSettings(context='cpu', type_config='float')  # computes the expected results


def export_network(settings: ExportSettings) -> int:
    """Write a network with its weights to a file, and print the result of the check.

    Returns:
        The exit status.

    Raises:
        UserError: The settings cannot be met, or the file's results differ from the network's.
    """
    path = settings.output_file
    if path is None:
        raise UserError('-o: no file is named; pass one that ends in .onnx, .xml, .nnp or .nnb')
    spec = _spec(settings.form, path)
    spec.check(path)
    config = configs.load(settings.config.config_file, settings.config.overrides)
    name, info = NetworkKeys.of(config).network, models.describe(config)
    size = choose_size(settings.form.size, config, info)
    if size is None:  # the file takes every size; int8 is calibrated at one
        known = [complexity.nearest_size(info, each) for each in named_sizes(config).values()]
        at_size = next(iter(known), checked_sizes(info)[-1])
    else:
        at_size = size
    check_size(name, info, at_size)
    _claim(path, network_files(config, settings.weights, settings.form.calibration))
    loaded = load(config, settings.weights, REFERENCE)
    shown = 'images of every size' if size is None else f'{size[0]}x{size[1]}'
    LOG.info('exporting %s for %s and comparing with NNabla', name, shown)
    predictor, images, metadata = loaded.predictor, None, _metadata(loaded)
    assert isinstance(predictor, Predictor), 'without a backend, NNabla computes the network'
    network = predictor.network
    if spec.precision == INT8:
        images = find_images(network, config, settings.form.calibration)
        metadata['calibration'] = images.describe()
        LOG.info('int8: calibrating value ranges on %d images', len(images.paths))
    with predictor.workspace.entered():
        report = export(network, at_size, path, spec, metadata=metadata, calibration=images)
    pair, other = [path], writers.beside(path)
    if other is not None and path.suffix.lower() == OPENVINO_ENDING:
        pair.append(other)
    names = ' and '.join(map(one_line, pair))
    megabytes = sum(each.stat().st_size for each in pair) / 1e6
    print(f'{names} written ({megabytes:.1f} MB, {spec.kind} of {shown}): {report}')
    return DONE


def _claim(path: Path, protected: ProtectedFiles) -> None:
    """Check that the file and the one beside it can be written and overwrite nothing else."""
    protected.claim('-o', path)
    other = writers.beside(path)
    if other is not None and path.suffix.lower() == OPENVINO_ENDING:
        protected.claim('-o', other)
        if files.kind_of(other) == 'file' and files.kind_of(path) != 'file':
            raise UserError(
                f'-o {path}: {other} is there without {path.name} and would be overwritten; name '
                'another file'
            )
        files.check_writable(other)
    elif other is not None:
        protected.claim_json('-o', other)
    files.check_writable(path)


def choose_size(text: str | None, config: Config, info: NetworkInfo) -> tuple[int, int] | None:
    """Return the height and width that ``--size`` selects; None for images of every size.

    Args:
        text: Value of the option, HxW or the name of a size; None for the config's size.
        config: Config whose sizes can be named ``test`` and ``training``.
        info: Facts of the network. The size of a name is rounded to the nearest that the network
            accepts.

    Raises:
        UserError: The text is no size, or the config names none.
    """
    if text == DYNAMIC:
        return None
    written = re.fullmatch(r'([1-9]\d{0,5})x([1-9]\d{0,5})', text or '')
    if written:
        return int(written[1]), int(written[2])
    in_config = named_sizes(config)
    known = NAMED_SIZES | in_config
    name = text if text is not None else next(iter(in_config), None)
    if name is None:
        raise UserError(f'{config.path} names no size: pass one with --size, such as 512x1024')
    if name not in known:
        raise UserError(
            f'--size {text}: write HxW, such as 512x1024, or {", ".join([*known, DYNAMIC])}'
        )
    size = complexity.nearest_size(info, known[name])
    if size != known[name]:
        network = NetworkKeys.of(config).network
        LOG.info('%dx%d, the size nearest to %s that %s accepts', *size, name, network)
    return size


def _spec(settings: FormSettings, path: Path) -> ExportSpec:
    pixels = settings.normalise
    if pixels is None:
        pixels = NORMALISED
    elif not pixels:
        pixels = 'uint8' if path.suffix.lower() in FLEXIBLE_ENDINGS else 'float32'
    return ExportSpec(
        settings.output,
        pixels,
        None if settings.dynamic_batch else settings.batch_size,
        free_size=settings.size == DYNAMIC,
        precision=settings.precision,
    )


def _metadata(loaded: LoadedNetwork) -> dict[str, object]:
    """Return the metadata of a file beyond the facts of its network."""
    config = loaded.config
    others = task_classes.tables_of(loaded.info, loaded.predictor.info.tasks)
    return {
        **({task_classes.KEY: others} if others else {}),
        'classes': list(loaded.info.classes),
        'palette': [list(map(int, colour)) for colour in loaded.info.palette],
        'palette_order': 'rgb',
        **ImageReading.of(config).conversion,
        'protocol': configured_protocol(config).describe(),
        'config_name': config.name,
        'config': {key: value for key, value in config.items() if key not in PATH_KEYS},
        'weights': loaded.weights_name,
        'weights_sha256': loaded.sha256,
    }
