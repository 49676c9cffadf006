"""Import the package onnx."""

from common.errors import UserError

INSTALL = 'python -m pip install -r requirements.txt'


def import_onnx():
    """Import the package onnx; raise ``UserError`` with the install command if it is missing."""
    try:
        import onnx
        import onnx.helper
        import onnx.numpy_helper
    except ModuleNotFoundError as error:
        raise UserError(f'the package {error.name} is not installed: {INSTALL}') from error
    return onnx
