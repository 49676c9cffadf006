"""Make tar archives, and read folders as the contents of an archive."""

import io
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
