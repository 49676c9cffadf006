"""Export a network, from the settings to the file and its check."""

import re
from pathlib import Path

import models
from common import files
from common.command import DONE
from common.errors import UserError
from common.log import LOG
from common.terminal.printable import one_line
from datasets.keys import ImageReading
from engine.config import loading as configs
from engine.config.config import Config
from engine.config.reading import PATH_KEYS
from engine.device.settings import DeviceSettings
from engine.export import writers
from engine.export.exporter import export
from engine.export.settings import NAMED_SIZES, ExportSettings, FormSettings
from engine.export.spec import NORMALISED, ExportSpec, check_size
from engine.inference.config_size import named_sizes
from engine.inference.input_files import network_files
from engine.inference.loading import LoadedNetwork, load
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
        raise UserError('-o: no file is named; pass one that ends in .onnx, .nnp or .nnb')
    spec = _spec(settings.form, path)
    spec.check(path)
    config = configs.load(settings.config.config_file, settings.config.overrides)
    name, info = NetworkKeys.of(config).network, models.describe(config)
    height, width = size = choose_size(settings.form.size, config, info)
    check_size(name, info, size)
    protected = network_files(config, settings.weights)
    protected.claim('-o', path)
    if path.suffix.lower() == '.nnb':
        protected.claim_json('-o', writers.description_of(path))
    files.check_writable(path)
    loaded = load(config, settings.weights, REFERENCE)
    LOG.info('exporting %s for %dx%d and comparing with NNabla', name, height, width)
    predictor = loaded.predictor
    with predictor.workspace.entered():
        report = export(predictor.network, size, path, spec, metadata=_metadata(loaded))
    print(
        f'{one_line(path)} written ({path.stat().st_size / 1e6:.1f} MB, '
        f'{spec.kind} of {height}x{width}): {report}'
    )
    return DONE


def choose_size(text: str | None, config: Config, info: NetworkInfo) -> tuple[int, int]:
    """Return the height and width that ``--size`` selects.

    Args:
        text: Value of the option, HxW or the name of a size; None for the config's size.
        config: Config whose sizes can be named ``test`` and ``training``.
        info: Facts of the network. The size of a name is rounded to the nearest that the network
            accepts.

    Raises:
        UserError: The text is no size, or the config names none.
    """
    written = re.fullmatch(r'([1-9]\d{0,5})x([1-9]\d{0,5})', text or '')
    if written:
        return int(written[1]), int(written[2])
    in_config = named_sizes(config)
    known = NAMED_SIZES | in_config
    name = text if text is not None else next(iter(in_config), None)
    if name is None:
        raise UserError(f'{config.path} names no size: pass one with --size, such as 512x1024')
    if name not in known:
        raise UserError(f'--size {text}: write HxW, such as 512x1024, or {", ".join(known)}')
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
        pixels = 'uint8' if path.suffix.lower() == '.onnx' else 'float32'
    return ExportSpec(
        settings.output, pixels, None if settings.dynamic_batch else settings.batch_size
    )


def _metadata(loaded: LoadedNetwork) -> dict[str, object]:
    """Return the metadata of a file beyond the facts of its network."""
    config = loaded.config
    return {
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
