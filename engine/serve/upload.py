"""Read the one image of a multipart body, in memory and within limits."""

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
MAX_PARTS = 8  # of files and of other fields; all but one are refused, by name
FRAME_BYTES = 1 << 16  # of a body around its file: boundaries and headers of parts
MULTIPART = 'multipart/form-data'
EXAMPLE = f'as with curl -F {FIELD}=@photo.jpg'


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


def check_head(request: Request, limits: LimitSettings) -> None:
    """Check what the headers of a request say about its body.

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
    if length.isdigit() and int(length) > limits.max_bytes + FRAME_BYTES:
        raise _too_long(limits)


async def read_upload(request: Request, limits: LimitSettings) -> Upload:
    """Return the uploaded file of a request.

    Raises:
        Refusal: The body is not one file in the field ``image``, is too long, or too slow.
        starlette.requests.ClientDisconnect: The client is gone.
    """
    check_head(request, limits)
    parser = _InMemoryParser(
        request.headers,
        _limited(request, limits),
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
        return _one_image(form.multi_items(), limits)
    finally:
        await form.close()


async def _limited(request: Request, limits: LimitSettings) -> AsyncGenerator[bytes, None]:
    """Yield the body of a request; count its bytes, as it may have no Content-Length."""
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > limits.max_bytes + FRAME_BYTES:
            raise _too_long(limits)
        yield chunk


def _one_image(items: list[tuple[str, UploadFile | str]], limits: LimitSettings) -> Upload:
    """Return the only image among the fields of a body."""
    for name, _ in items:
        if name != FIELD:
            raise Refusal(
                422,
                f'field {short_text(name)!r}: unknown; the body has the file {FIELD} alone, '
                'parameters are part of the address, such as /segment?output=overlay',
            )
    if not items:
        raise Refusal(422, f'field {FIELD}: missing; send a file, {EXAMPLE}')
    if len(items) > 1:
        raise Refusal(422, f'field {FIELD}: given {len(items)} times; send one file a request')
    file = items[0][1]
    if isinstance(file, str):
        raise Refusal(
            422, f'field {FIELD}: is a text, as it has no filename; send a file, {EXAMPLE}'
        )
    data = file.file.read()
    if len(data) > limits.max_bytes:
        raise _too_long(limits)
    return Upload(short_text(file.filename or FIELD), data)


def _too_long(limits: LimitSettings) -> Refusal:
    return Refusal(
        413,
        f'the upload is longer than {limits.max_bytes} bytes; save the picture as JPEG or make it '
        'smaller, or start the server with a larger --max-bytes',
    )
