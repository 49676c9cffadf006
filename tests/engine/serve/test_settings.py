"""Values of the options of the server."""

import pytest

from common.errors import UserError
from engine.serve.settings import AccessSettings, LimitSettings, parse_origin


@pytest.mark.parametrize(
    'text, origin',
    [
        ('https://example.org', 'https://example.org'),
        ('HTTPS://Example.ORG:443/', 'https://example.org'),
        ('http://example.org:8080', 'http://example.org:8080'),
        ('http://[::1]:80', 'http://[::1]'),
    ],
)
def test_origins_are_spelled_as_browsers_do(text, origin):
    assert parse_origin(text) == origin


@pytest.mark.parametrize(
    'text',
    ['*', 'https://*.example.org', 'example.org', 'ftp://example.org', 'https://example.org/page',
     'https://', 'https://user@example.org', 'http://example.org:99999', 'http://['],
)  # fmt: skip
def test_other_origins_are_refused(text):
    with pytest.raises(ValueError, match='write it as scheme, host and port'):
        parse_origin(text)


@pytest.mark.parametrize(
    'kind, values, words',
    [
        (AccessSettings, {'port': 65536}, '--port 65536: must be from 0 to 65535'),
        (AccessSettings, {'port': -1}, '--port -1'),
        (LimitSettings, {'max_bytes': 0}, '--max-bytes 0: must be above 0'),
        (LimitSettings, {'max_pixels': -5}, '--max-pixels -5'),
        (LimitSettings, {'time_limit': float('nan')}, '--time-limit nan'),
        (LimitSettings, {'time_limit': float('inf')}, '--time-limit inf'),
        (LimitSettings, {'queue': -1}, '--queue -1: must be 0 or more'),
    ],
)
def test_values_out_of_range(kind, values, words):
    with pytest.raises(UserError, match=words):
        kind(**values)
