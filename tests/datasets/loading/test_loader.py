"""The loader: which samples, in which order, on which rank; what happens when something fails."""

import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.errors import InputError, UserError
from datasets.dataset import Dataset, Sample
from datasets.info import DatasetInfo
from datasets.loading.augmentations import ResizeCrop, ScaleCrop, ShortSides
from datasets.loading.loader import Loader
from datasets.loading.sampler import Sampler, SamplerState
from datasets.readers.label_files import read_indices
from support import stand_ins
from support.programs import PROJECT

COUNT = 10
MEAN, STD = (120, 110, 100), (60, 61, 62)
CROP = ScaleCrop((24, 32), flip=0.5)


def write_dataset(folder, count=COUNT, size=lambda i: (40, 60)):
    """Images whose label is one class, the sample's number."""
    samples = []
    for i in range(count):
        height, width = size(i)
        image, label = folder / f'image{i}.png', folder / f'label{i}.png'
        cv2.imwrite(str(image), stand_ins.image(height, width, seed=i))
        cv2.imwrite(str(label), np.full((height, width), i, np.uint8))
        samples.append(Sample(f'sample{i}', image, label))
    classes = tuple(map(str, range(count)))
    info = DatasetInfo('numbers', classes, tuple((i, i, i) for i in range(count)))
    return Dataset(info, 'train', tuple(samples), read_indices)


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp('data'))


def load(dataset, transform=CROP, batch_size=3, **options):
    return Loader(dataset, transform, batch_size, MEAN, STD, **options)


def members(labels):
    """The samples of a batch, by their labels."""
    return [int(label.max()) for label in labels]


def take(loader, count):
    return [loader.next() for _ in range(count)]


def equal(batches, others):
    return all(
        np.array_equal(x, y) for batch, other in zip(batches, others) for x, y in zip(batch, other)
    )


def test_batches_have_the_promised_form(dataset):
    with load(dataset, workers=0) as loader:
        images, labels = next(iter(loader))
    assert (images.shape, images.dtype) == ((3, 3, 24, 32), np.float32)
    assert (labels.shape, labels.dtype) == ((3, 1, 24, 32), np.int32)
    assert set(np.unique(labels)) <= {-1, *range(COUNT)}


def test_the_same_batches_whatever_the_number_of_workers(dataset):
    """All batches are kept: none may be overwritten while the caller has it."""
    batches = {}
    for workers in (0, 1, 3):
        with load(dataset, workers=workers, seed=5) as loader:
            batches[workers] = take(loader, 9)
    assert equal(batches[0], batches[1])
    assert equal(batches[0], batches[3])
    with load(dataset, workers=0, seed=6) as loader:
        assert not equal(batches[0], take(loader, 9))


def test_every_sample_once_an_epoch_over_all_ranks():
    """Also where neither batches nor ranks divide the number of samples, and for batches that do
    not mix portraits and landscapes. Any prefix of the ranks' common steps has each sample as often
    as any other, but for one epoch in progress.
    """
    for count, batch_size, ranks in [(10, 3, 1), (10, 3, 2), (7, 2, 3), (3, 4, 2), (12, 3, 2)]:
        orders = [Sampler(count, batch_size, 1, rank=r, ranks=ranks) for r in range(ranks)]
        states, seen = [SamplerState()] * ranks, []
        for _ in range(25):
            for rank, order in enumerate(orders):
                _, samples, states[rank] = order.next_batch(states[rank])
                assert len(samples) == batch_size
                seen += samples
            assert len(set(states)) == 1, 'the ranks must agree on where they stand'
        epochs = len(seen) // count
        assert len(set(seen)) == len(seen)
        for epoch in range(epochs):
            assert sorted(i for e, i in seen if e == epoch) == list(range(count))


def test_epochs_have_orders_of_their_own():
    order = Sampler(50, 1, seed=3)
    epochs = [[order.sample(50 * e + i)[1] for i in range(50)] for e in range(3)]
    assert epochs[0] != epochs[1] != epochs[2] != sorted(epochs[2])
    assert Sampler(50, 1, seed=4).sample(0)[1] != order.sample(0)[1]
    plain = Sampler(5, 1, seed=3, shuffle=False)
    assert [plain.sample(i) for i in range(6)] == [(0, i) for i in range(5)] + [(1, 0)]


def test_augmentation_differs_between_epochs_and_samples(dataset):
    """One file under ten names: all its pictures are different."""
    same = Dataset(dataset.info, 'train', dataset.samples[:1] * 10, dataset.decode)
    with load(same, batch_size=10, workers=0) as loader:
        pictures = [image.tobytes() for images, _ in take(loader, 2) for image in images]
    assert len(set(pictures)) == 20


def test_slices_are_disjoint_and_know_where_they_are(dataset):
    with load(dataset, batch_size=2, workers=0) as whole:
        slices = [whole.slice(None, num_of_slices=2, slice_pos=rank) for rank in range(2)]
    epoch = [members(loader.next()[1]) for _ in range(3) for loader in slices]
    assert sorted(sum(epoch[:5], [])) == list(range(COUNT))
    for loader in slices:
        assert (loader.size, loader.batch_size, loader.epoch, loader.position) == (5, 2, 1, 1)
    for bad in ({'num_of_slices': 2, 'slice_pos': 2}, {'num_of_slices': 0}):
        with pytest.raises(UserError, match='slice_pos must be'):
            whole.slice(**bad)
    with pytest.raises(UserError, match='cannot be sliced'):
        slices[0].slice(num_of_slices=2, slice_pos=0)


@pytest.mark.parametrize('workers', [0, 2])
def test_continuing_gives_the_same_batches(dataset, workers):
    """In the middle of an epoch, through JSON, though workers were ahead; and reset."""
    with load(dataset, workers=workers) as loader:
        first = take(loader, 5)
        state = json.loads(json.dumps(loader.state_dict()))
        assert (loader.epoch, loader.position) == (1, 5)
        following = take(loader, 4)
        loader.load_state_dict(state)
        assert equal(take(loader, 4), following)
        loader.reset()
        assert equal(take(loader, 5), first)
    with load(dataset, workers=0) as other:
        other.load_state_dict(state)
        assert equal(take(other, 4), following)


@pytest.mark.parametrize(
    'options, message',
    [
        ({'batch_size': 5}, 'batch_size 3, now it is 5'),
        ({'seed': 9}, 'seed 0, now it is 9'),
        ({'shuffle': False}, 'shuffle True, now it is False'),
        ({'transform': ShortSides((16,), 36)}, 'by_aspect False, now it is True'),
    ],
)
def test_the_state_of_another_loader_is_refused(dataset, options, message):
    with load(dataset, workers=0) as loader, load(dataset, workers=0, **options) as other:
        loader.next()
        with pytest.raises(UserError, match=message):
            other.load_state_dict(loader.state_dict())
        fewer = Dataset(dataset.info, 'train', dataset.samples[:9], dataset.decode)
        with load(fewer, workers=0) as other, pytest.raises(UserError, match='samples 10, now'):
            other.load_state_dict(loader.state_dict())
        half = loader.slice(num_of_slices=2)
        with pytest.raises(UserError, match='slices 1, now it is 2'):
            half.load_state_dict(loader.state_dict())
        half.load_state_dict(loader.slice(num_of_slices=2, slice_pos=1).state_dict())


def running(loader):
    """The ids of its workers."""
    return [process.pid for process in loader._pool._processes.values()]


def test_closing_a_slice_leaves_no_worker(dataset):
    with load(dataset, workers=2).slice(num_of_slices=2, slice_pos=1) as loader:
        loader.next()
        workers = running(loader)
        assert len(workers) == 2 and not any(map(gone, workers))
    assert all(map(gone, workers))


def test_a_slice_takes_the_place_of_a_loader_that_has_run(dataset):
    """Which had workers of its own, and which goes on when it is asked."""
    with load(dataset, workers=0) as reference:
        first, second = take(reference, 2)
    whole = load(dataset, workers=1)
    assert equal([whole.next()], [first])
    workers = running(whole)
    with whole.slice() as loader:
        assert all(map(gone, workers))
        assert equal([loader.next()], [second])
    with whole:
        assert equal([whole.next()], [second])


def test_sizes_by_batch(tmp_path):
    """Short sides: a batch has portraits or landscapes, and is as large as its largest member."""
    dataset = write_dataset(tmp_path, size=lambda i: (60, 40) if i % 3 == 0 else (40, 50 + 2 * i))
    transform = ShortSides((16, 24), longest=36, divisor=8)
    with load(dataset, transform, batch_size=2, workers=2) as loader:
        batches = take(loader, 6)
        state = loader.state_dict()
        following = take(loader, 6)
    assert len({images.shape for images, _ in batches}) > 1
    for images, labels in batches:
        height, width = labels.shape[2:]
        assert height % 8 == width % 8 == 0
        assert len({number % 3 == 0 for number in members(labels)}) == 1
        assert (height > width) == (members(labels)[0] % 3 == 0)
        assert (images[np.broadcast_to(labels == -1, images.shape)] == 0).all()
    seen = Counter(n for _, labels in [*batches, *following] for n in members(labels))
    assert max(seen.values()) - min(seen.values()) <= 2
    with load(dataset, transform, batch_size=2, workers=0) as loader:
        loader.load_state_dict(json.loads(json.dumps(state)))
        assert equal(take(loader, 6), following)


@pytest.mark.parametrize('pad_label, value', [(255, -1), (0, 0)])
def test_padding(dataset, pad_label, value):
    """Images with 0, the mean; labels as ignored, or as the published code does."""
    transform = ScaleCrop((64, 64), scale=(1, 1), flip=0, pad_label=pad_label)
    with load(dataset, transform, workers=0) as loader:
        images, labels = loader.next()
    assert (labels[:, :, 40:] == value).all() and (labels[..., 60:] == value).all()
    assert (images[:, :, 40:] == 0).all() and (images[..., 60:] == 0).all()
    assert (labels[:, :, :40, :60] == labels[:, :, :1, :1]).all()


@pytest.fixture
def damaged(tmp_path):
    dataset = write_dataset(tmp_path, 6)
    path = dataset[2].image
    path.write_bytes(path.read_bytes()[:500])
    return dataset


@pytest.mark.parametrize('workers', [0, 2])
def test_a_bad_file_is_named(damaged, workers):
    """When its batch is due, not earlier, and again when it is asked for again."""
    transform = ResizeCrop((16, 16), (20, 30))
    with load(damaged, transform, 1, workers=workers, shuffle=False) as loader:
        assert [members(loader.next()[1]) for _ in range(2)] == [[0], [1]]
        for _ in range(2):
            with pytest.raises(InputError, match='image2.png: damaged or truncated'):
                loader.next()
        assert loader.position == 2


@pytest.mark.parametrize('workers', [0, 2])
def test_bad_files_can_be_skipped_and_counted(damaged, workers, caplog):
    with load(damaged, batch_size=2, workers=workers, skip_bad=True) as loader:
        batches = take(loader, 6)  # two epochs
        problem = f'{damaged[2].image}: damaged or truncated'
        assert [(key[: len(problem)], n) for key, n in loader.skipped.items()] == [(problem, 2)]
    seen = Counter(n for _, labels in batches for n in members(labels))
    assert sum(seen.values()) == 12
    assert 2 not in seen
    assert caplog.text.count('another sample takes its place') == 1


def test_skipping_does_not_go_on_for_ever(damaged):
    bad = Dataset(damaged.info, 'train', damaged.samples[2:3], damaged.decode)
    with (
        load(bad, batch_size=1, workers=0, skip_bad=True) as loader,
        pytest.raises(InputError, match='1 bad samples in a row'),
    ):
        loader.next()


@pytest.mark.parametrize('workers', [0, 1])
def test_a_programming_error_names_the_file_and_keeps_its_cause(dataset, workers):
    broken = Dataset(dataset.info, 'train', dataset.samples, os.path.getmtime)
    with load(broken, workers=workers) as loader, pytest.raises(RuntimeError) as error:
        loader.next()
    assert 'image' in str(error.value)
    assert "'float' object has no attribute" in str(error.value)
    if workers:
        assert 'Traceback' in str(error.value)


def test_a_killed_worker_is_reported(dataset):
    with load(dataset, workers=1) as loader:
        loader.next()
        (process,) = loader._pool._processes.values()
        process.kill()
        with pytest.raises(UserError, match='a worker process of the loader died .SIGKILL'):
            take(loader, 50)


def test_workers_that_cannot_start_are_reported_and_leave_nothing(dataset, capfd):
    """Something that only the main program knows cannot be sent to others."""
    broken = Dataset(dataset.info, 'train', dataset.samples, _Unknown())
    gc.collect()  # of files that another test has left open
    files = len(os.listdir('/proc/self/fd'))
    with load(broken, workers=2) as loader, pytest.raises(UserError, match='died .status 1'):
        loader.next()
    assert 'cannot be had in a worker' in capfd.readouterr().err
    assert len(os.listdir('/proc/self/fd')) == files


class _Unknown:
    def __reduce__(self):
        return exec, ("raise ImportError('cannot be had in a worker')",)


def test_memory_is_bounded_and_reused(dataset):
    """A batch whose arrays are gone makes room for another; those that are kept stay."""
    with load(dataset, workers=2, prefetch=2) as loader:
        kept = loader.next()
        copy = kept[0].copy()
        for _ in range(30):
            loader.next()
        assert os.fstat(loader._pool.memory.file).st_size <= 6 * kept[0].nbytes
        assert np.array_equal(kept[0], copy)
    assert np.array_equal(kept[0], copy), 'arrays outlive the loader'
    with load(dataset, ShortSides((8, 16, 32), 48), workers=2, prefetch=2) as loader:
        for _ in range(30):
            loader.next()
        assert os.fstat(loader._pool.memory.file).st_size <= 4 * (3 * 32 * 48 * 16 + 4096)
    with pytest.raises(ValueError, match='closed'):
        loader.next()


def test_bad_settings(dataset):
    for options in ({'batch_size': 0}, {'workers': -1}, {'prefetch': 0}):
        with pytest.raises(UserError, match='must be at least'):
            load(dataset, **options)
    with pytest.raises(UserError, match='pad_label: must be a class, 0 to 9, or 255'):
        load(dataset, ScaleCrop((24, 32), pad_label=COUNT))
    with pytest.raises(UserError, match='is empty'):
        load(Dataset(dataset.info, 'train', (), dataset.decode))


# A program without a main guard, which starts a loader and goes on for ever.
PROGRAM = """
import sys, time
sys.path[:0] = [{project!r}, {tests!r}]
import importlib.util, pathlib
spec = importlib.util.spec_from_file_location('test_loader', {file!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
dataset = module.write_dataset(pathlib.Path({folder!r}))
loader = module.load(dataset, workers=2)
loader.next()
print(*[process.pid for process in loader._pool._processes.values()], flush=True)
while True:
    loader.next()
"""


def program(folder):
    return PROGRAM.format(
        project=str(PROJECT), tests=str(PROJECT / 'tests'), file=__file__, folder=str(folder)
    )


def gone(process):
    try:
        return Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()[0] == 'Z'
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize('ending', [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_when_the_program_is_killed(tmp_path, ending):
    """No process, and no shared memory that has a name; SIGINT to the group is Ctrl-C."""
    process = subprocess.Popen(
        [sys.executable, '-c', program(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    workers = [int(pid) for pid in process.stdout.readline().split()]
    assert len(workers) == 2
    maps = [Path(f'/proc/{running}/maps').read_text() for running in (process.pid, *workers)]
    assert 'memfd:batches' in maps[0]
    assert not any('/dev/shm/' in mapped for mapped in maps)
    if ending == signal.SIGINT:
        os.killpg(process.pid, ending)
    else:
        process.send_signal(ending)
    errors = process.communicate(timeout=20)[1]
    assert errors.count('Traceback') == (ending == signal.SIGINT), 'the workers must be silent'
    deadline = time.monotonic() + 10
    while not all(map(gone, workers)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert all(map(gone, workers))


RANK = """
import sys
sys.path[:0] = [{project!r}, {tests!r}]
from mpi4py import MPI
import importlib.util, pathlib
spec = importlib.util.spec_from_file_location('test_loader', {file!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
comm = MPI.COMM_WORLD
dataset = module.write_dataset(pathlib.Path({folder!r}) / str(comm.rank))
with module.load(dataset, batch_size=1, workers=2).slice(None, comm.size, comm.rank) as loader:
    own = [n for _ in range(5) for n in module.members(loader.next()[1])]
everyone = comm.gather(own)
if comm.rank == 0:
    print(everyone)
"""


def test_under_mpirun(tmp_path):
    """Two ranks with workers, started after MPI: disjoint and complete."""
    mpirun = Path(sys.prefix) / 'bin' / 'mpirun'
    if not mpirun.exists():
        pytest.skip('needs mpirun')
    for rank in range(2):
        (tmp_path / str(rank)).mkdir()
    script = tmp_path / 'rank.py'
    script.write_text(
        RANK.format(
            project=str(PROJECT), tests=str(PROJECT / 'tests'), file=__file__, folder=str(tmp_path)
        )
    )
    process = subprocess.run(
        [mpirun, '-n', '2', '--allow-run-as-root', '--oversubscribe', sys.executable, script],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    ranks = json.loads(process.stdout)
    assert sorted(ranks[0] + ranks[1]) == list(range(COUNT))
    assert not set(ranks[0]) & set(ranks[1])


def test_batches_of_all_ranks_have_numbers_of_their_own():
    """From which what a batch draws follows; also where portraits and landscapes alternate."""
    for is_portrait in (None, lambda index: index % 3 == 0):
        orders = [Sampler(10, 3, 1, rank=r, ranks=3, is_portrait=is_portrait) for r in range(3)]
        numbers, states = [], [SamplerState()] * 3
        for _ in range(20):
            for rank, order in enumerate(orders):
                number, _, states[rank] = order.next_batch(states[rank])
                numbers.append(number)
        assert numbers == list(range(60))


def test_every_batch_draws_a_length(dataset):
    """Over many batches and on both ranks all of them occur, and the ranks do not draw alike."""
    lengths = (8, 16, 24, 32)
    whole = load(dataset, ShortSides(lengths, 60), batch_size=1, workers=0)
    heights = [
        [images.shape[2] for images, _ in take(whole.slice(None, 2, rank), 20)] for rank in range(2)
    ]
    assert set(heights[0]) == set(heights[1]) == set(lengths)
    assert heights[0] != heights[1]


@pytest.mark.parametrize('workers', [0, 1])
def test_a_portrait_in_the_place_of_a_bad_landscape(tmp_path, workers):
    """It is made smaller, until the whole of it fits into the batch."""
    dataset = write_dataset(tmp_path, size=lambda i: (60, 40) if i else (40, 60))
    dataset[0].label.write_bytes(b'')
    transform = ShortSides((16,), longest=60, divisor=8)
    settings = dict(batch_size=1, shuffle=False, skip_bad=True, workers=workers)
    with load(dataset, transform, **settings) as loader:
        shapes = []
        for _ in range(COUNT):
            images, labels = loader.next()
            rows, columns = np.nonzero(labels[0, 0] >= 0)
            shapes.append((images.shape[2:], (rows.max() + 1, columns.max() + 1)))
    assert sum(loader.skipped.values()) == 1
    assert ((16, 24), (16, 10)) in shapes
    assert shapes.count(((24, 16), (24, 16))) == COUNT - 1
