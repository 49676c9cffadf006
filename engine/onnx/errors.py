"""The error for functions that ONNX cannot express."""

from common.errors import UserError


class UnsupportedError(UserError):
    """A function has no exact equivalent in ONNX, or none for a free batch size or image size."""
