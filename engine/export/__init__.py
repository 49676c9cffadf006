"""Export networks for other runtimes: ONNX, OpenVINO, NNabla's NNP, and NNB for its C runtime.

    from engine.export import ExportSettings, export_network
    from engine.export.spec import ExportSpec
    from engine.export.exporter import export

    export_network(ExportSettings(Path('network.onnx')))

    network = models.create('ddrnet23_slim')
    ...                                     # its parameters are registered and loaded
    export(network, (512, 1024), 'network.onnx', ExportSpec('labels', pixels='uint8'))

``python -m engine.export --help`` lists the options of the command line.
"""

from typing import TYPE_CHECKING

from common import lazy

if TYPE_CHECKING:
    from engine.export.exporting import export_network
    from engine.export.settings import ExportSettings, FormSettings

_HOMES = {
    'ExportSettings': 'engine.export.settings',
    'FormSettings': 'engine.export.settings',
    'export_network': 'engine.export.exporting',
}
__all__ = ['ExportSettings', 'FormSettings', 'export_network']
__getattr__ = lazy.resolver(__name__, _HOMES)
