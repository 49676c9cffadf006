"""What OpenAPI says about the interface beyond the types of its functions."""

from typing import Any

from engine.serve.schemas import Answer, Error, TasksAnswer
from engine.serve.upload import FIELD, FIRST_FIELD

TITLE = 'Semantic segmentation'
DESCRIPTION = (
    'Finds the class of every pixel of a picture, or its depth. Pictures stay in the memory of the '
    'server while they are computed.'
)
REQUEST_BODY: dict[str, Any] = {
    'required': True,
    'content': {
        'multipart/form-data': {
            'schema': {
                'type': 'object',
                'required': [FIELD],
                'additionalProperties': False,
                'properties': {
                    FIELD: {
                        'type': 'string',
                        'format': 'binary',
                        'description': 'a picture: JPEG, PNG, BMP, TIFF, WebP, PNM, GIF, AVIF or '
                        'JPEG 2000',
                    },
                    FIRST_FIELD: {
                        'type': 'string',
                        'format': 'binary',
                        'description': 'the first picture of the scene, for models that take two: '
                        'optical flow, an 8-bit RGB PNG as datasets.prepare flow writes it, or an '
                        'image such as the frame before; /models says which',
                    },
                },
            }
        }
    },
}
_RETRY = {
    'Retry-After': {'description': 'seconds to wait', 'schema': {'type': 'integer'}},
}


def _error(description: str, **words: Any) -> dict[str, Any]:
    return {'model': Error, 'description': description, **words}


# By status; every path can answer with these two.
EVERYWHERE: dict[int | str, dict[str, Any]] = {
    400: _error('The host name is not served here, or the body is broken.'),
    403: _error('A web page of another origin may not use this server.'),
}
SEGMENT: dict[int | str, dict[str, Any]] = {
    200: {
        'model': Answer | TasksAnswer,
        'description': 'The result: a PNG, or JSON with output=json. The pixels of a PNG are class '
        'indices (labels, palette), a blend of picture and colours (overlay), or the probability '
        'of the class from 0 to 255 (confidence). Of a task that is depth, they are metres times '
        '256 in 16 bits (labels), or colours with a bar of metres (overlay).',
        'content': {'image/png': {'schema': {'type': 'string', 'format': 'binary'}}},
    },
    **EVERYWHERE,
    408: _error('The upload took too long.'),
    413: _error('Too many bytes or pixels.'),
    415: _error('Not a picture, a damaged one, or no multipart body.'),
    422: _error('A parameter or a field of the body is missing, unknown or wrong.'),
    500: _error('The server has a fault, which its log describes.'),
    503: _error('The server is busy or stops.', headers=_RETRY),
    504: _error('The computation took too long.'),
    507: _error('The memory of the server does not suffice.'),
}
