"""Settings of the server: its address, who may use it, and its limits."""

from __future__ import annotations  # so that an older Python can import this module

from dataclasses import dataclass
from urllib.parse import urlsplit

from common.errors import UserError
from common.settings import Settings, group, option
from engine.backends.settings import BackendSettings
from engine.config.settings import ConfigSettings
from engine.device.settings import DeviceSettings
from engine.inference.settings import (
    BACKEND_TITLE,
    PROTOCOL_TITLE,
    ProtocolSettings,
    WeightsSettings,
)

DEFAULT_PORTS = {'http': 80, 'https': 443}


def parse_origin(text: str) -> str:
    """Return the origin of a web page, such as ``https://example.org``, as browsers send it.

    Raises:
        ValueError: The text is no origin; the command line shows the message to the user.
    """
    remedy = f'{text!r}: write it as scheme, host and port, such as https://example.org:8443'
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f'{remedy} ({error})') from error
    rest = parts.path.rstrip('/') or parts.query or parts.fragment or parts.username
    if parts.scheme not in DEFAULT_PORTS or not host or '*' in host or rest:
        raise ValueError(remedy)
    shown = f'[{host}]' if ':' in host else host
    return f'{parts.scheme}://{shown}' + (
        f':{port}' if port and port != DEFAULT_PORTS[parts.scheme] else ''
    )


@dataclass(frozen=True)
class AccessSettings(Settings):
    """The address of the server, and the web pages and host names that may reach it.

    Raises:
        UserError: The port is out of range.
    """

    host: str = option(
        '--host',
        default='127.0.0.1',
        metavar='ADDRESS',
        help='address or host name to listen on; the default serves this machine alone, 0.0.0.0 '
        'the whole network (default: %(default)s)',
    )
    port: int = option(
        '--port',
        default=8000,
        type=int,
        metavar='N',
        help='TCP port; 0 selects a free one (default: %(default)s)',
    )
    allow_origins: tuple[str, ...] = option(
        '--allow-origin',
        default=(),
        action='append',
        type=parse_origin,
        metavar='URL',
        help='let the web pages of this origin use the server (CORS), such as '
        'https://example.org; may be repeated (default: its own page alone)',
    )
    allow_hosts: tuple[str, ...] = option(
        '--allow-host',
        default=(),
        action='append',
        metavar='NAME',
        help='accept this host name in requests, as behind a proxy; may be repeated (default: the '
        'names of this machine with a loopback --host, else any)',
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.port < 1 << 16:
            raise UserError(f'--port {self.port}: must be from 0 to 65535')


@dataclass(frozen=True)
class LimitSettings(Settings):
    """Limits of one request and of all together.

    Raises:
        UserError: A limit is out of range.
    """

    max_bytes: int = option(
        '--max-bytes',
        default=32 << 20,
        type=int,
        metavar='N',
        help='bytes of the largest uploaded file (default: %(default)s)',
    )
    max_pixels: int = option(
        '--max-pixels',
        default=1 << 24,
        type=int,
        metavar='N',
        help='pixels of the largest picture, checked before it is decoded (default: %(default)s)',
    )
    queue: int = option(
        '--queue',
        default=16,
        type=int,
        metavar='N',
        help='requests that may wait; more are refused at once (default: %(default)s)',
    )
    time_limit: float = option(
        '--time-limit',
        default=60.0,
        type=float,
        metavar='SECONDS',
        help='longest time of an upload, of waiting, and of computing (default: %(default)g)',
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in (
            ('--max-bytes', self.max_bytes),
            ('--max-pixels', self.max_pixels),
            ('--time-limit', self.time_limit),
        ):
            if not 0 < value < 1 << 62:  # NaN is refused, too
                raise UserError(f'{name} {value:g}: must be above 0')
        if self.queue < 0:
            raise UserError(f'--queue {self.queue}: must be 0 or more')


@dataclass(frozen=True)
class ServeSettings(Settings):
    """Settings of ``python -m engine.serve``: the models, the address and the limits."""

    config: ConfigSettings = group(ConfigSettings)
    weights: WeightsSettings = group(WeightsSettings)
    access: AccessSettings = group(AccessSettings, 'address, and who may use it')
    limits: LimitSettings = group(LimitSettings, 'limits')
    device: DeviceSettings = group(DeviceSettings)
    backend: BackendSettings = group(BackendSettings, BACKEND_TITLE)
    protocol: ProtocolSettings = group(ProtocolSettings, PROTOCOL_TITLE)
