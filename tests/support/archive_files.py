"""Make tar archives, and read folders as the contents of an archive."""

import io
import struct
import tarfile


def tarred(members):
    """Return a tar archive of {name: bytes}."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def files_of(folder, name=''):
    """Return the bytes of all files below ``folder``, by ``name`` + the relative path."""
    return {
        name + path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }


def tar_header(name=b'a', size=b'0', kind=b'0'):
    """Return the header block of a tar archive, with its checksum.

    Args:
        name: File name, up to 100 bytes.
        size: The 12 bytes of the size, which is octal.
        kind: The type, one byte.
    """
    block = bytearray(512)
    for start, value in ((0, name), (124, size), (148, b' ' * 8), (156, kind), (257, b'ustar')):
        block[start : start + len(value)] = value
    block[148:156] = b'%06o\0 ' % sum(block)
    return bytes(block)


def tar_blocks(content):
    """Return content with zeros up to the next block of a tar archive."""
    return content + bytes(-len(content) % 512)


TAR_END = bytes(1024)
ZIP_FIELDS = {  # name: (signature of the record, offset in it, format)
    'flags': (b'PK\x01\x02', 8, '<H'),
    'method': (b'PK\x01\x02', 10, '<H'),
    'crc': (b'PK\x01\x02', 16, '<L'),
    'compressed size': (b'PK\x01\x02', 20, '<L'),
    'size': (b'PK\x01\x02', 24, '<L'),
    'offset': (b'PK\x01\x02', 42, '<L'),
    'directory size': (b'PK\x05\x06', 12, '<L'),
    'directory offset': (b'PK\x05\x06', 16, '<L'),
}


def with_field(archive, field, value):
    """Return a zip archive with another value in a field of its last member, or of its end."""
    signature, offset, form = ZIP_FIELDS[field]
    changed = bytearray(archive)
    struct.pack_into(form, changed, changed.rindex(signature) + offset, value)
    return bytes(changed)
