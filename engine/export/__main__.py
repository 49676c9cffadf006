"""Export a network as a file for other runtimes (python -m engine.export)."""

import sys
from argparse import Namespace

from common.command import Parser, add_options, run_command, settings
from engine import export
from engine.export import ExportSettings


def build_parser() -> Parser:
    """Return the parser of the command line."""
    parser = Parser(
        prog='python -m engine.export',
        description='Write a network with its weights as ONNX (opset 13), OpenVINO, NNP or NNB, '
        'and compare the file with NNabla on a photo.',
    )
    add_options(parser, ExportSettings)
    return parser


def main(args: Namespace) -> int:
    """Export the network of the arguments and return the exit status."""
    return export.export_network(settings(ExportSettings, args))


if __name__ == '__main__':
    sys.exit(run_command(build_parser, main))
