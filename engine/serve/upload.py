"""Read the pictures of a multipart body, in memory and within limits."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from common.terminal.short_repr import short_text
from engine.serve.refusal import Refusal
from engine.serve.settings import LimitSettings

FIELD = 'image'
FIRST_FIELD = 'first_input'  # with the first picture of a scene
MAX_PARTS = 8  # of files and of other fields; all but the known ones are refused, by name
FRAME_BYTES = 1 << 16  # of a body around its file: boundaries and headers of parts
MULTIPART = 'multipart/form-data'
EXAMPLE = f'as with curl -F {FIELD}=@photo.jpg'
SCENE_EXAMPLE = f'as with curl -F {FIRST_FIELD}=@first.png -F {FIELD}=@photo.jpg'


@dataclass(frozen=True)
class Upload:
    """An uploaded file.

    Attributes:
        name: The client's name of the file, for messages alone.
        data: Its bytes.
    """

    name: str
    data: bytes


class _InMemoryParser(MultiPartParser):
    spool_max_size = sys.maxsize  # never a temporary file


def check_head(request: Request, limits: LimitSettings, inputs: int = 1) -> None:
    """Check what the headers of a request say about its body.

    Args:
        request: The request.
        limits: Limits of the server.
        inputs: Number of pictures that the model takes.

    Raises:
        Refusal: The body is not multipart, or too long.
    """
    kind = request.headers.get('content-type', '').partition(';')[0].strip().lower()
    if kind != MULTIPART:
        raise Refusal(
            415,
            f'send the picture as the file {FIELD} of a {MULTIPART} body, {EXAMPLE}',
        )
    length = request.headers.get('content-length', '')
    if length.isdigit() and int(length) > _most_bytes(limits, inputs):
        raise _too_long(limits)


async def read_uploads(
    request: Request, limits: LimitSettings, model: str, inputs: int = 1
) -> tuple[Upload, ...]:
    """Return the uploaded files of a request, the camera image last.

    Args:
        request: The request.
        limits: Limits of the server.
        model: Name of the model.
        inputs: Number of pictures that it takes.

    Raises:
        Refusal: The body is not one file in the field ``image``, and with two inputs one more in
            ``first_input``, is too long, or too slow.
        starlette.requests.ClientDisconnect: The client is gone.
    """
    check_head(request, limits, inputs)
    parser = _InMemoryParser(
        request.headers,
        _limited(request, limits, inputs),
        max_files=MAX_PARTS,
        max_fields=MAX_PARTS,
        max_part_size=limits.max_bytes + FRAME_BYTES,  # of a text, which is refused by name
    )
    try:
        form = await asyncio.wait_for(parser.parse(), limits.time_limit)
    except asyncio.TimeoutError as error:
        raise Refusal(
            408,
            f'the upload took longer than {limits.time_limit:g} seconds; send a smaller file, or '
            'start the server with a larger --time-limit',
        ) from error
    except MultiPartException as error:
        raise Refusal(
            400, f'the multipart body is broken: {error.message.rstrip(".")}; send it {EXAMPLE}'
        ) from error
    try:
        return _pictures(form.multi_items(), limits, model, inputs)
    finally:
        await form.close()


def _most_bytes(limits: LimitSettings, inputs: int) -> int:
    return inputs * limits.max_bytes + FRAME_BYTES


async def _limited(
    request: Request, limits: LimitSettings, inputs: int
) -> AsyncGenerator[bytes, None]:
    """Yield the body of a request; count its bytes, as it may have no Content-Length."""
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > _most_bytes(limits, inputs):
            raise _too_long(limits)
        yield chunk


def _pictures(
    items: list[tuple[str, UploadFile | str]], limits: LimitSettings, model: str, inputs: int
) -> tuple[Upload, ...]:
    """Return the only pictures among the fields of a body, in the order of the network."""
    fields = (FIELD,) if inputs == 1 else (FIRST_FIELD, FIELD)
    items = [(name, value) for name, value in items if not _is_empty_first_field(name, value)]
    for name, _ in items:
        if name == FIRST_FIELD and inputs == 1:
            raise Refusal(
                422, f'field {FIRST_FIELD}: {model} takes one picture; send the file {FIELD} alone'
            )
        if name not in fields:
            files = f'file {FIELD} alone' if inputs == 1 else f'files {FIRST_FIELD} and {FIELD}'
            raise Refusal(
                422,
                f'field {short_text(name)!r}: unknown; the body has the {files}, '
                'parameters are part of the address, such as /segment?output=overlay',
            )
    return tuple(
        _one_file(field, [value for name, value in items if name == field], limits, model, inputs)
        for field in fields
    )


def _is_empty_first_field(name: str, value: UploadFile | str) -> bool:
    """Return whether a form sends the optional field without a file, as none was chosen."""
    return name == FIRST_FIELD and not (value if isinstance(value, str) else value.filename)


def _one_file(
    field: str, values: list[UploadFile | str], limits: LimitSettings, model: str, inputs: int
) -> Upload:
    """Return the only file of a field."""
    example = EXAMPLE if inputs == 1 else SCENE_EXAMPLE
    if not values:
        which = f'{model} takes two pictures of a scene, ' if inputs > 1 else ''
        raise Refusal(422, f'field {field}: missing; {which}send a file, {example}')
    if len(values) > 1:
        raise Refusal(422, f'field {field}: given {len(values)} times; send one file a request')
    file = values[0]
    if isinstance(file, str):
        raise Refusal(
            422, f'field {field}: is a text, as it has no filename; send a file, {example}'
        )
    data = file.file.read()
    if len(data) > limits.max_bytes:
        raise _too_long(limits, field)
    return Upload(short_text(file.filename or field), data)


def _too_long(limits: LimitSettings, field: str = FIELD) -> Refusal:
    if field == FIRST_FIELD:  # optical flow is no JPEG
        place, remedy = f'field {field}: ', 'make it smaller'
    else:
        place, remedy = '', 'save the picture as JPEG or make it smaller'
    return Refusal(
        413,
        f'{place}the upload is longer than {limits.max_bytes} bytes; {remedy}, or start the server '
        'with a larger --max-bytes',
    )
