"""A checksum inside of a file that covers the whole file.

The writer puts :data:`PLACEHOLDER` among the metadata, and :func:`sealed` replaces it in the bytes
of the file. So a damaged or changed file is noticed before a runtime, written in C++, reads it.
"""

import hashlib
import re

KEY, MARK = 'checksum', 'nnseg-sha256:'
PLACEHOLDER = MARK + 64 * '0'
_SEAL = re.compile(MARK.encode() + rb'[0-9a-f]{64}')


def sealed(content: bytes) -> bytes:
    """Return the content of a file with the checksum in the place of the placeholder."""
    digest = hashlib.sha256(content).hexdigest()
    return content.replace(PLACEHOLDER.encode(), (MARK + digest).encode())


def is_whole(content: bytes) -> bool | None:
    """Return whether a file is as it was written; None for a file without a checksum."""
    seals = _SEAL.findall(content)
    if len(seals) != 1:
        return None
    return sealed(_SEAL.sub(PLACEHOLDER.encode(), content)) == content
