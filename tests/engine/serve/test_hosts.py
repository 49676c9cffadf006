"""Addresses that the server listens on, and what it says about them."""

import re
import socket

import pytest

from common.errors import UserError
from engine.serve import hosts
from engine.serve.settings import AccessSettings
from support import served


def bound(host):
    return hosts.bind(AccessSettings(host=host, port=0))


def can_bind_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(('::1', 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not can_bind_ipv6(), reason='needs IPv6')


@pytest.mark.parametrize(
    'host, shown',
    [
        ('127.0.0.1', r'http://127\.0\.0\.1:\d+'),
        ('localhost', r'http://(127\.0\.0\.1|\[::1\]):\d+'),
        pytest.param('::1', r'http://\[::1\]:\d+', marks=needs_ipv6),
    ],
)
def test_loopback(host, shown):
    with bound(host) as listener:
        (url,) = hosts.urls(listener)
        assert re.fullmatch(shown, url)
        assert hosts.is_loopback(listener.getsockname()[0])


@pytest.mark.parametrize('host', ['0.0.0.0', pytest.param('::', marks=needs_ipv6)])
def test_all_addresses_of_the_machine(host):
    with bound(host) as listener:
        *outside, own = hosts.urls(listener)
        assert own.startswith('http://127.0.0.1:') and len(outside) <= 1
        assert not any('0.0.0.0' in url or '[::]' in url for url in outside)
        hosts.listen(listener, AccessSettings())
        port = listener.getsockname()[1]
        socket.create_connection(('127.0.0.1', port), served.HANG_SECONDS).close()


def test_a_port_that_is_bound_twice_opens_once():
    """Both may bind it while none listens."""
    first = bound('127.0.0.1')
    access = AccessSettings(port=first.getsockname()[1])
    second = hosts.bind(access)
    with first, second:
        hosts.listen(first, access)
        with pytest.raises(UserError, match='in use by another program'):
            hosts.listen(second, access)


def test_a_server_for_the_network_warns(tmp_path, caplog):
    access = AccessSettings(host='0.0.0.0')
    with served.serving(served.tiny_settings(tmp_path, access=access), tmp_path) as running:
        assert running.get('/health', Host='192.168.1.2').status == 200
        assert running.get('/health', Host='seg.example').status == 200
    assert 'everybody in the network of 0.0.0.0 can use this server' in caplog.text


@pytest.mark.parametrize(
    'host, name',
    [('a.example:80', 'a.example'), ('[::1]:80', '::1'), ('', ''), ('[', ''), (':80', '')],
)
def test_the_name_in_a_host_header(host, name):
    assert hosts.name_of(host) == name
