"""Listen on an address, and tell which addresses open the page."""

import errno
import ipaddress
import socket
from urllib.parse import urlsplit

from common.errors import UserError
from engine.serve.settings import AccessSettings

BACKLOG = 128  # connections that wait to be accepted
# An address for documentation; no packet is sent to find the route to it.
ELSEWHERE = {socket.AF_INET: '192.0.2.1', socket.AF_INET6: '2001:db8::1'}


def bind(access: AccessSettings) -> socket.socket:
    """Return a socket that is bound to the address of the settings, and does not listen yet.

    Raises:
        UserError: The address is not of this machine, or the port is in use.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            access.host, access.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise UserError(
            f'--host {access.host}: no such host ({getattr(error, "strerror", None) or error}); '
            'use 127.0.0.1, or 0.0.0.0 for the whole network'
        ) from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and ipaddress.ip_address(address[0]).is_unspecified:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise _unusable(access, error) from error
    return listener


def listen(listener: socket.socket, access: AccessSettings) -> None:
    """Open the port of a bound socket.

    Raises:
        UserError: The port is in use by now.
    """
    try:
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _unusable(access, error) from error


def _unusable(access: AccessSettings, error: OSError) -> UserError:
    if error.errno == errno.EADDRINUSE:
        return UserError(
            f'--port {access.port}: in use by another program; choose another one, or --port 0 '
            'for a free one'
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return UserError(
            f'--port {access.port}: not permitted to this user; choose one from 1024 on'
        )
    return UserError(
        f'--host {access.host}: not an address of this machine ({error.strerror}); use '
        '127.0.0.1, or 0.0.0.0 for the whole network'
    )


def is_loopback(name: str) -> bool:
    """Return whether a host name or an address leads to this machine alone."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == 'localhost' or name.endswith('.localhost')


def name_of(host: str) -> str:
    """Return the name in a ``Host`` header, without port and brackets; '' in an invalid one."""
    try:
        return urlsplit(f'//{host}').hostname or ''
    except ValueError:
        return ''


def urls(listener: socket.socket) -> list[str]:
    """Return the addresses of the page, the one for other machines first."""
    address, port = listener.getsockname()[:2]
    if not ipaddress.ip_address(address.partition('%')[0]).is_unspecified:
        return [_url(address, port)]
    outside = _address_in_the_network(listener.family)
    return [_url(each, port) for each in (outside, '127.0.0.1') if each]


def _address_in_the_network(family: int) -> str | None:
    """Return the address of this machine towards other machines; None without a network."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((ELSEWHERE[socket.AddressFamily(family)], 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])


def _url(address: str, port: int) -> str:
    return f'http://[{address}]:{port}' if ':' in address else f'http://{address}:{port}'
